"""Real parts for the tests, on one machine: a kind cluster, and single Kubernetes, containerd and registry processes.

Where the usual image registries can be reached the cluster is made of published images. Where only package registries
can be reached (Debian, Go modules, PyPI) everything is built from them, by `tests.cluster.built`.
Standard library only: this runs before any virtual environment exists.
"""
