"""MPII Human Pose: people in frames of videos, 16 keypoints; SMPL fits of EFT or SPIN beside."""
