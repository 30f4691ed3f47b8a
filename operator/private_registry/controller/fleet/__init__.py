"""The fleet loop, and what it decides."""
