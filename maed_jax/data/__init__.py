"""From records on disk to batches of clips and images."""
