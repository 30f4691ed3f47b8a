"""What is no part of a control plane and no part of ours: scheduler, kubelets, kube-proxy, provisioner, agents.

Each of them is small and does the one thing that the operator's work depends on, with real programs, real sockets and
real directories, through the API server, as the original does.
"""
