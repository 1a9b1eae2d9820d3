"""InstaVariety: tracks of people in videos from Instagram, 2D keypoints by OpenPose."""
