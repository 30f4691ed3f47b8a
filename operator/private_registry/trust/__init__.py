"""What a node must believe: a registry in, a trust entry out; an entry in, node files out. Pure."""
