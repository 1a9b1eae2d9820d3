"""Work directories: a run's configuration, its checkpoints, and the trained model."""
