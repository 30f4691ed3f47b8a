"""Real parts on loopback: API server, containerd, registry. Nothing is simulated but the nodes' hardware."""
