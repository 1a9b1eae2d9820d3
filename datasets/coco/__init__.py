"""COCO 2014: people in photographs, 17 keypoints; SMPL fits by EFT or SPIN."""
