"""Private Registry Operator: one PrivateRegistry applied, and every node of the cluster pulls from it."""

__version__ = "0.1.0"
