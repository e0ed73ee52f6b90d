"""The explorer that runs without a kernel: the network itself lives in the page."""
