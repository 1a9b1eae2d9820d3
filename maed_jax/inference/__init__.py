"""From a video to bodies: detect, track, crop, reconstruct, smooth; attention; results on disk."""
