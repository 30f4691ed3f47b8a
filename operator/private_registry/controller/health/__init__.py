"""How a registry is: what its pods, claim, rollout and nodes show, and the status that says so. Pure."""
