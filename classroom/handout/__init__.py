"""Make what the students get: a zip file to work in, and the tasks on paper."""
