"""An agent's work on a whole node, with every writer at it; the files are real, and the runtimes are not."""
