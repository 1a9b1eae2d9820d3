"""PoseTrack 2018: several people in each video, their keypoints in 2D and tracks."""
