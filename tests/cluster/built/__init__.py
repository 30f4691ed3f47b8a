"""What the cluster is made of, built from package registries alone: Debian, Go modules, PyPI."""
