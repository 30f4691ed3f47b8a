"""The NodeTrust: what one node's agent says that its runtimes believe.

One per Linux node, made by the operator (spec) and reported into by that node's agent (status) and nobody else.
"""

from typing import Literal

from pydantic import Field

from private_registry.api.model import Model, Written
from private_registry.api.selectors import LabelValue

MAX_MESSAGE = 1024
"""Characters of a message; an agent cuts what a runtime told it."""


class NodeTrustSpec(Model):
    node_labels: dict[str, LabelValue] = Field(default_factory=dict, max_length=64)
    """The node's labels that selectors of registries use, and its opt-in: an agent cannot read Nodes."""
    restart_turn: str | None = Field(default=None, max_length=64)
    """Id of the edit for which the node may restart its containerd now."""


class Runtime(Written):
    """A container runtime that the agent found, with what decides how it looks registries up."""

    name: str
    version: str = ""
    config_path: str = ""
    """As configured, before it is taken apart; empty where the runtime has none."""


class RuntimeConfig(Written):
    """What becomes of the containerd of a node that was opted in."""

    state: Literal["Waiting", "Restarting", "Managed", "Failed", "Refused"]
    edit: str = Field(default="", max_length=64)
    message: str = Field(default="", max_length=MAX_MESSAGE)


class RegistryTrust(Written):
    """What one node believes of one registry.

    Listed from before the first byte is written on the node until after the last is removed, so that an absent row
    proves a clean node. A row says `trusted` only of the entry that hashes to `entryHash`.
    """

    registry: str
    entry_hash: str
    trusted: bool
    reason: str
    message: str = Field(default="", max_length=MAX_MESSAGE)
    last_transition_time: str = ""


class NodeTrustStatus(Written):
    runtime: str = ""
    """For the column of kubectl: `containerd 2.2.9`, several joined by a comma."""
    runtimes: tuple[Runtime, ...] = ()
    runtime_config: RuntimeConfig | None = None
    total: int = 0
    trusted: int = 0
    summary: str = ""
    """`trusted/total`, for the column of kubectl."""
    message: str = ""
    """The first thing that is wrong on this node, or else that people have to know; empty when there is nothing."""
    registries: tuple[RegistryTrust, ...] = ()
