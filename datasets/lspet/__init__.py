"""Leeds Sports Pose Extended: sports people, 14 keypoints; SMPL fits of EFT or SPIN beside."""
