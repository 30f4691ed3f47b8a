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

OPT_IN_LABEL = f"{names.RUNTIME_CONFIG}={names.MANAGE}"

_MIRRORS = (
    "The table registry.mirrors is, beside which it may not be: write each mirror as a hosts.toml in a directory below "
    f"{DEFAULT_ROOT}, take the table out, set config_path to {DEFAULT_ROOT} and restart containerd"
)

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
    config: PurePosixPath = DEFAULT_CONFIG
    """Its main configuration file."""
    may_be_set: bool = False
    """Whether all that keeps it from having a root is that nobody has set config_path."""


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


def plugin(version: int) -> str:
    """The plugin whose table `registry` counts in a configuration of this format version."""
    return _PLUGINS.get(version, _PLUGIN)


@dataclass(frozen=True)
class Told:
    """What a containerd tells of its registry settings itself."""

    config_path: str
    has_mirrors: bool


def told_in_status(info: Mapping[str, str]) -> Told | None:
    """The effective settings in the verbose CRI status; None where the version does not tell them."""
    try:
        registry = json.loads(info.get("config", ""))["registry"]
        return Told(str(registry["configPath"]), bool(registry.get("mirrors")))
    except (ValueError, KeyError, TypeError, AttributeError):
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
            name: registry
            for name in (*_PLUGINS.values(), _PLUGIN)
            if (registry := table.get("plugins", {}).get(name, {}).get("registry"))
        }
        imports = tuple(str(path.parent / pattern) for pattern in table.get("imports", ()))
        return ConfigFile(
            version=int(table.get("version", 1)),
            config_paths={name: str(each["config_path"]) for name, each in registries.items() if "config_path" in each},
            has_mirrors=frozenset(name for name, each in registries.items() if each.get("mirrors")),
            imports=imports,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigUnreadableError(f"{path}: {error}") from None


def analyse(
    version: str, told: Told | None, files: Sequence[ConfigFile], *, config: PurePosixPath, node: str
) -> Lookup:
    """Decide from a containerd's version, what its status tells, and its configuration in the order it is merged."""
    number = _number(version)
    path = told.config_path if told else _effective(number, files)
    roots = [part for part in path.split(":") if part]
    if not roots:
        has_mirrors = told.has_mirrors if told else any(file.has_mirrors for file in files)
        message = _unset(version, config) + (_MIRRORS if has_mirrors else _opt_in(node))
        verdict = Verdict(Reason.CONFIG_PATH_UNSET, message)
        return Lookup(path, None, verdict, config=config, may_be_set=not has_mirrors)
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
    plugins = {plugin(version)}
    set_to = [
        path
        for file in files
        for name, path in file.config_paths.items()
        if name in plugins or (file.version == 1 and name == _PLUGINS[1])
    ]
    # A later file's empty value does not take an earlier one's away.
    path = next((path for path in reversed(set_to) if path), "")
    if path or any(plugins & file.has_mirrors for file in files):
        return path
    if number >= (2, 2, 2) or (number >= (2, 2, 0) and not set_to):
        return BUILT_IN
    return ""


def _unset(version: str, config: PurePosixPath) -> str:
    return f"containerd {version} on this node reads no directory for registries: config_path is not set in {config}. "


def _opt_in(node: str) -> str:
    return (
        f"To have it set, which restarts containerd on this node (running containers go on): "
        f"kubectl label node {node} {OPT_IN_LABEL}"
    )


def unfit(dump: str, directory: str) -> str | None:
    """Why a configuration, as containerd itself dumps it, would not have it read a directory; None: it would."""
    try:
        config = tomllib.loads(dump)
        registry = config["plugins"][plugin(int(config["version"]))]["registry"]
        if registry.get("mirrors"):
            return "the table registry.mirrors is in it, beside which no config_path may stand"
        if any(each.get("tls") for each in (registry.get("configs") or {}).values()):
            return "a table registry.configs has tls in it, beside which no config_path may stand"
        if registry.get("config_path") != directory:
            return f"with what it imports, config_path is {registry.get('config_path')!r}"
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return f"what containerd makes of it cannot be read ({error!r})"
    return None


def _number(version: str) -> tuple[int, ...]:
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in match.groups()) if match else (0, 0, 0)
