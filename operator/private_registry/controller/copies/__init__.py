"""The copies loop, and what it decides."""
