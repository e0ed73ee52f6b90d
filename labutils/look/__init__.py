"""What the reader looks at: figures and explorers."""
