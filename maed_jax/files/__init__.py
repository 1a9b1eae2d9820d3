"""Atomic writes, locks, and safe readers for untrusted files."""
