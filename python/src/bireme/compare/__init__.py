"""What `bireme compare` runs in Python's processes."""
