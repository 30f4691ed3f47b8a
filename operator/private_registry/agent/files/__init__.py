"""The only writer on a node: atomic, marked, exact in its undoing, and blind to links."""
