"""InstaVariety: tracks of people in videos from Instagram, keypoints in 2D by OpenPose."""
