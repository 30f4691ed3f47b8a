"""The node loop: trust entries in, files on this node and a proof by its runtime out."""
