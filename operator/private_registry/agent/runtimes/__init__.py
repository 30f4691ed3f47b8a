"""The container runtimes that a node may run: how each is found, told of a registry, and asked whether it pulls."""
