"""Work directories: the configuration of a run, its checkpoints, and the model in them."""
