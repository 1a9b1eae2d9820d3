"""Leeds Sports Pose Extended: sportspeople, 14 keypoints; SMPL fits by EFT or SPIN."""
