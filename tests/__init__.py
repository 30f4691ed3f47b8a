"""The test suite, and the parts that it brings up: `tests.cluster` for clusters and servers."""
