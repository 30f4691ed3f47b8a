"""What a registry's own pod costs and how fast it is."""
