"""What a registry is made of: a spec in, Kubernetes objects out. Pure."""
