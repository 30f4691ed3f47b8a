"""The agent's figures, taken on one node: real API server, containerd and registry as processes, no cluster needed."""
