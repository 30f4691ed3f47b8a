"""What the operator does for the data of registries, step by step."""
