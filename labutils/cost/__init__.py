"""What a network costs: bytes, multiplications, milliseconds."""
