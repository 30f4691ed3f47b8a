"""What is written down twice, or promised in writing, held against itself. No service runs here."""
