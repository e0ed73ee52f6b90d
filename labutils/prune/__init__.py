"""Pruning: single weights, whole filters with what depends on them, in steps."""
