"""Where a containerd looks registries up: the first root of its effective config_path, or why there is none.

containerd 1.6 and 1.7 tell it in their CRI status. Later ones do not, and their configuration has to be read as they
read it themselves: the file of the command line or the default one, its imports breadth first, later ones on top.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from private_registry.api import names
from private_registry.trust.reasons import Reason, Verdict

DEFAULT_CONFIG = PurePosixPath("/etc/containerd/config.toml")
DEFAULT_ROOT = PurePosixPath("/etc/containerd/certs.d")
BUILT_IN = "/etc/containerd/certs.d:/etc/docker/certs.d"  # since 2.2, where nothing is configured

OPT_IN_LABEL = f"{names.GROUP}/runtime-config=manage"

# Where each version of the configuration format keeps the table `registry`.
_PLUGINS = {1: "cri", 2: "io.containerd.grpc.v1.cri"}
_PLUGIN = "io.containerd.cri.v1.images"


class ConfigUnreadableError(ValueError):
    """The configuration cannot be read as containerd reads it; the message says what is the matter."""


@dataclass(frozen=True)
class Lookup:
    """How a containerd finds out where a registry is."""

    config_path: str
    """As configured, or as the version has it built in; empty where it reads no directory."""
    root: PurePosixPath | None
    """The directory, as the node sees it, in which our files belong."""
    verdict: Verdict | None = None
    """Why there is no root."""
    hint: str = ""
    """What may keep the runtime from reading the root all the same."""
    literal: PurePosixPath | None = None
    """The one directory that this version may take a list for."""


@dataclass(frozen=True)
class ConfigFile:
    """What one configuration file says of registries."""

    version: int
    config_paths: Mapping[str, str]
    """By plugin; one that is set to nothing is there, and empty."""
    has_mirrors: frozenset[str]
    """Plugins with the mirrors table of old, beside which no config_path may stand."""
    imports: tuple[str, ...]
    """Paths and patterns, absolute."""


def config_path_in_status(info: Mapping[str, str]) -> str | None:
    """The effective config_path in the verbose CRI status; None where the version does not tell it."""
    try:
        registry = json.loads(info.get("config", ""))["registry"]
        return str(registry["configPath"])
    except (ValueError, KeyError, TypeError):
        return None


def config_file(arguments: Sequence[str]) -> PurePosixPath:
    """The configuration file that a containerd was started with, from its command line."""
    for position, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option in ("--config", "-config", "-c"):
            return PurePosixPath(value if equals else "".join(arguments[position + 1 : position + 2]))
    return DEFAULT_CONFIG


def parse_config(path: PurePosixPath, text: str) -> ConfigFile:
    """Read a configuration file.

    Raises ConfigUnreadableError when it is no TOML or not shaped like a configuration.
    """
    try:
        table = tomllib.loads(text)
        registries = {
            plugin: registry
            for plugin in (*_PLUGINS.values(), _PLUGIN)
            if (registry := table.get("plugins", {}).get(plugin, {}).get("registry"))
        }
        imports = tuple(str(path.parent / pattern) for pattern in table.get("imports", ()))
        return ConfigFile(
            version=int(table.get("version", 1)),
            config_paths={
                plugin: str(each["config_path"]) for plugin, each in registries.items() if "config_path" in each
            },
            has_mirrors=frozenset(plugin for plugin, each in registries.items() if each.get("mirrors")),
            imports=imports,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigUnreadableError(f"{path}: {error}") from None


def analyse(
    version: str, in_status: str | None, files: Sequence[ConfigFile], *, config: PurePosixPath, node: str
) -> Lookup:
    """Decide from a containerd's version, what its status tells, and its configuration in the order it is merged."""
    number = _number(version)
    path = _effective(number, files) if in_status is None else in_status
    roots = [part for part in path.split(":") if part]
    if not roots:
        return Lookup(path, None, Verdict(Reason.CONFIG_PATH_UNSET, _unset(version, config, node)))
    if not roots[0].startswith("/"):
        message = f"config_path in {config} is {path!r}, which is no absolute path: correct it and restart containerd"
        return Lookup(path, None, Verdict(Reason.CONFIG_PATH_UNREADABLE, message))
    hint, literal = "", None
    if len(roots) > 1 and number >= (2, 1, 0):
        hint = (
            f"containerd {version} takes the list {path} for the name of one directory unless it pulls locally: "
            f'set config_path = "{roots[0]}" in {config} and restart containerd'
        )
        literal = PurePosixPath(path)
    return Lookup(path, PurePosixPath(roots[0]), hint=hint, literal=literal)


def _effective(number: tuple[int, ...], files: Sequence[ConfigFile]) -> str:
    # The version of the last file decides which plugin's settings count; those of the other are dropped in silence.
    version = next((file.version for file in reversed(files) if file.version > 1), 3)
    plugins = {_PLUGINS.get(version, _PLUGIN)}
    set_to = [
        path
        for file in files
        for plugin, path in file.config_paths.items()
        if plugin in plugins or (file.version == 1 and plugin == _PLUGINS[1])
    ]
    # A later file's empty value does not take an earlier one's away.
    path = next((path for path in reversed(set_to) if path), "")
    if path or any(plugins & file.has_mirrors for file in files):
        return path
    if number >= (2, 2, 2) or (number >= (2, 2, 0) and not set_to):
        return BUILT_IN
    return ""


def _unset(version: str, config: PurePosixPath, node: str) -> str:
    return (
        f"containerd {version} on this node reads no directory for registries: config_path is not set in {config}. "
        f"To have it set, which restarts containerd on this node (running containers go on): "
        f"kubectl label node {node} {OPT_IN_LABEL}"
    )


def _number(version: str) -> tuple[int, ...]:
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in match.groups()) if match else (0, 0, 0)
