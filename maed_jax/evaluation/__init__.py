"""Metrics and the pass over a test split."""
