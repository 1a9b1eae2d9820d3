"""Metrics, protocols and the evaluation of a split."""
