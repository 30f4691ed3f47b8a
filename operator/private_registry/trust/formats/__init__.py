"""The files of a node as text: what is written into them, and edited with every other byte kept. Pure."""
