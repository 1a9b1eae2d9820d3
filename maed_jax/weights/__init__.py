"""Other people's weights: the original's checkpoints, ImageNet weights, `maed convert`."""
