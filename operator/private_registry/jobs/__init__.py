"""What runs from the operator's image beside a registry: its own process, with no rights in the cluster."""
