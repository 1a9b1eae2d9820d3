"""COCO 2014: people in photographs, 17 keypoints; SMPL fits of EFT or SPIN beside them."""
