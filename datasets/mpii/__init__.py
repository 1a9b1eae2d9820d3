"""MPII Human Pose: people in frames of videos, 16 keypoints; SMPL fits by EFT or SPIN."""
