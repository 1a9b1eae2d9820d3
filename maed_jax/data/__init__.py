"""Data: records on disk, and batches of clips and images made from them."""
