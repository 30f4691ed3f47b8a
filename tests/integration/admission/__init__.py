"""What the API server refuses on our behalf, asked of real ones: the newest that is tested and the oldest supported."""
