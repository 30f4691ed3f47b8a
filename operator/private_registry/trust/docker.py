"""What Docker Engine has to be told of a registry, and what its answers prove. Pure.

Sources: moby registry/ (certificates per host, insecure-registries), daemon/reload.go, the Engine API, and a dockerd
that was asked.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from private_registry.trust import proof
from private_registry.trust.formats.daemon_json import KEY
from private_registry.trust.node_files import HostDirectory, NodeFiles
from private_registry.trust.reasons import Verdict

FLAG = "--insecure-registry"
NEEDS_CREDENTIAL = (
    "Docker Engine on this node pulls with a credential only: it goes to the port in the image's name, and cannot be "
    "told of the one for pulls. Log in, or name the credential's Secret in imagePullSecrets"
)


class FlagConflictError(Exception):
    """A flag of dockerd stands where a key of daemon.json would have to; with both it would not start any more."""


def directories(files: NodeFiles) -> tuple[HostDirectory, ...]:
    """The hosts that Docker can be asked for: its image names know no address of IPv6."""
    return tuple(each for each in files.certificates if not each.host.startswith("["))


def plain_hosts(files: NodeFiles) -> tuple[str, ...]:
    """The hosts that are served without TLS."""
    return tuple(each.host for each in directories(files) if each.server.startswith("http://"))


def refuse_conflict(command_line: Sequence[str], plain: Collection[str]) -> None:
    """Raise FlagConflictError where dockerd was started with hosts of its own."""
    if any(argument == FLAG or argument.startswith(f"{FLAG}=") for argument in command_line):
        raise FlagConflictError(
            f"dockerd on this node was started with {FLAG}, beside which daemon.json must not have {KEY}: add "
            f"{' '.join(f'{FLAG}={host}' for host in plain)} to it, or move all of them into daemon.json"
        )


def insecure_in_info(info: Mapping[str, Any]) -> frozenset[str]:
    """The hosts that a dockerd takes without TLS, from `GET /info`."""
    config = info.get("RegistryConfig") or {}
    indexes = config.get("IndexConfigs") or {}
    return frozenset(host for host, index in indexes.items() if not index.get("Secure", True))


def message(answer: str) -> str:
    """What Docker says of a pull: one object, or a stream of them, of which the last error counts."""
    said = ""
    for line in answer.splitlines():
        try:
            parsed = json.loads(line)
        except ValueError:
            parsed = {"message": line}
        said = parsed.get("message") or parsed.get("error") or said
    return said


def classify(status: int, said: str, directory: HostDirectory) -> Verdict:
    """The verdict on one host, from the HTTP status of a pull and the message in it."""
    code = "NOT_FOUND" if status == 404 else "UNKNOWN"
    where = {"server": directory.server, "setting": f"/etc/hosts and {KEY}", "hint": "see its log on this node"}
    verdict = proof.classify(code, said, **where)
    if verdict.trusted and directory.mirror and proof.asks(said):
        return replace(verdict, message=NEEDS_CREDENTIAL)
    return verdict
