"""Losses, optimiser, the step and the loop, devices and processes, logs."""
