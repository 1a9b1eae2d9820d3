"""PoseTrack 2018: several people in each video, with tracks and 2D keypoints."""
