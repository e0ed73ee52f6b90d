"""Training and evaluation: the loop, recovery with zeros kept, accuracy with its interval."""
