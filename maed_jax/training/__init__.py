"""Losses, optimiser, the step and the loop, checkpoints and logs."""
