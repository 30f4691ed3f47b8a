"""The fast tier: real servers as plain processes on loopback, ready in seconds, as context managers for fixtures.

`python3 -m tests.cluster parts` builds the programs; nothing is built here.
"""

from tests.cluster.processes.containerd import Containerd
from tests.cluster.processes.control_plane import ControlPlane
from tests.cluster.processes.process import NotBuiltError, NotReadyError, Process
from tests.cluster.processes.registry import RegistryServer

__all__ = ["Containerd", "ControlPlane", "NotBuiltError", "NotReadyError", "Process", "RegistryServer"]
