"""`maed predict`: from a video to a folder of results."""
