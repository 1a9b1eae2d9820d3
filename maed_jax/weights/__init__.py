"""Conversion of other people's weights: the original's checkpoints and ImageNet weights."""
