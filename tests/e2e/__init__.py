"""The whole of it on a kind cluster: nodes that run pods, lose power, are drained, and pull."""
