"""From a video to bodies: detect, track, crop, reconstruct, write."""
