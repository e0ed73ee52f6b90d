"""Grade a class: what was handed in, run, and scored."""
