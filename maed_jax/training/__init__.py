"""Losses, optimiser, training step and loop, devices and processes, logging."""
