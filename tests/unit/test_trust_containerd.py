"""Which directory each containerd reads, by version and configuration: what was measured with the real ones."""

import json
from pathlib import PurePosixPath

import pytest

from private_registry.trust import containerd
from private_registry.trust.containerd import ConfigUnreadableError, Lookup, Told
from private_registry.trust.reasons import Reason

CONFIG = PurePosixPath("/etc/containerd/config.toml")
DEFAULT = "/etc/containerd/certs.d:/etc/docker/certs.d"
V2 = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n'
V3 = 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n'
V4 = V3.replace("version = 3", "version = 4")
MIRRORS_V2 = V2 + '[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["https://m"]\n'
MIRRORS_V3 = V3 + '[plugins."io.containerd.cri.v1.images".registry.mirrors."docker.io"]\nendpoint = ["https://m"]\n'


def look_up(version: str, *files: str, in_status: str | None = None) -> Lookup:
    parsed = [containerd.parse_config(CONFIG, text) for text in files]
    told = None if in_status is None else Told(in_status, has_mirrors=False)
    return containerd.analyse(version, told, parsed, config=CONFIG, node="worker-1")


@pytest.mark.parametrize(
    ("version", "files", "config_path"),
    [
        ("2.0.11", [V3 + 'config_path = "/a"'], "/a"),
        ("2.0.11", [V2 + 'config_path = "/a"'], "/a"),
        ("2.0.11", [V3], ""),
        ("2.0.11", [], ""),
        ("2.1.9", [V3 + 'config_path = "/a"'], "/a"),
        ("2.1.9", [], ""),
        ("2.2.0", [], DEFAULT),
        ("2.2.1", [V3 + 'config_path = ""'], ""),
        ("2.2.9", [V3 + 'config_path = ""'], DEFAULT),
        ("2.2.9", [V3], DEFAULT),
        ("2.2.9", [], DEFAULT),
        ("2.2.9", [V3 + 'config_path = "/a"'], "/a"),
        ("2.2.9", [V2 + 'config_path = "/a"'], "/a"),
        ("2.2.9", [MIRRORS_V3], ""),
        ("2.2.9", [MIRRORS_V2], ""),
        ("2.3.7", [V4 + 'config_path = "/a"'], "/a"),
        ("2.3.7", [], DEFAULT),
        ("v2.3.7-rc.1+unknown", [], DEFAULT),
        # imports: later files on top, empty values take nothing away
        ("2.1.9", [V3 + 'config_path = "/a"', V3 + 'config_path = "/b"'], "/b"),
        ("2.1.9", [V3 + 'config_path = "/a"', V3 + 'config_path = ""'], "/a"),
        ("2.1.9", ["version = 3", V3 + 'config_path = "/b"'], "/b"),
        # a drop-in of version 3 drops the settings of a main file of version 2, in silence
        ("2.1.9", [V2 + 'config_path = "/a"', "version = 3"], ""),
        ("2.2.9", [V2 + 'config_path = "/a"', "version = 3"], DEFAULT),
        # a plugin of another version of the format counts for nothing
        ("2.2.9", ['version = 3\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/a"'], DEFAULT),
        ("2.0.11", ['[plugins.cri.registry]\nconfig_path = "/a"'], "/a"),
    ],
)
def test_the_effective_config_path_is_that_of_the_real_containerd(
    version: str, files: list[str], config_path: str
) -> None:
    """A file in any other directory would be written for nothing."""
    found = look_up(version, *files)
    assert found.config_path == config_path
    assert found.root == (PurePosixPath(config_path.split(":", maxsplit=1)[0]) if config_path else None)


@pytest.mark.parametrize("version", ["1.6.20~ds1", "1.7.34"])
def test_old_versions_tell_it_themselves(version: str) -> None:
    """Their CRI status has the effective configuration, whatever the file says by now."""
    info = {"config": json.dumps({"registry": {"configPath": "/x:/y"}, "sandboxImage": "pause"})}
    told = containerd.told_in_status(info)
    assert told == Told("/x:/y", has_mirrors=False)
    found = look_up(version, V2 + 'config_path = "/a"', in_status=told.config_path)
    assert (found.root, found.hint) == (PurePosixPath("/x"), "")


@pytest.mark.parametrize("info", [{}, {"config": "no json"}, {"config": "[]"}, {"config": '{"registry": {}}'}])
def test_newer_versions_do_not_tell_it(info: dict[str, str]) -> None:
    """Their status has something else, or nothing, below that key."""
    assert containerd.told_in_status(info) is None


@pytest.mark.parametrize(("version", "in_status"), [("1.6.20", ""), ("1.7.34", ""), ("2.1.9", None)])
def test_an_unset_path_is_reported_with_the_line_that_cures_it(version: str, in_status: str | None) -> None:
    """A person copies the line, and knows before what it restarts."""
    found = look_up(version, in_status=in_status)
    assert found.root is None
    assert found.verdict is not None
    assert found.verdict.reason is Reason.CONFIG_PATH_UNSET
    assert "restarts containerd on this node" in found.verdict.message
    assert str(CONFIG) in found.verdict.message
    assert found.verdict.message.endswith("kubectl label node worker-1 privateregistry.dev/runtime-config=manage")


@pytest.mark.parametrize(
    ("version", "hinted"), [("1.7.34", False), ("2.0.11", False), ("2.1.9", True), ("2.2.9", True), ("2.3.7", True)]
)
def test_a_list_is_used_but_distrusted_where_it_may_be_taken_for_one_name(version: str, hinted: bool) -> None:
    """From 2.1 on it depends on how images are pulled: the proof decides, and the hint explains a bad one."""
    found = look_up(version, V3 + 'config_path = "/a:/b"')
    assert found.root == PurePosixPath("/a")
    assert ('set config_path = "/a"' in found.hint) is hinted


def test_a_relative_path_is_no_path() -> None:
    """It would depend on where containerd was started."""
    found = look_up("2.2.9", V3 + 'config_path = "certs.d"')
    assert found.verdict is not None
    assert found.verdict.reason is Reason.CONFIG_PATH_UNREADABLE


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["/usr/bin/containerd"], "/etc/containerd/config.toml"),
        (["containerd", "--log-level", "debug", "-c", "/x.toml"], "/x.toml"),
        (["containerd", "--config", "/x.toml", ""], "/x.toml"),
        (["containerd", "--config=/x.toml"], "/x.toml"),
        (["containerd", "-config=/x.toml"], "/x.toml"),
    ],
)
def test_the_command_line_names_the_configuration(arguments: list[str], path: str) -> None:
    """As containerd's own flags do."""
    assert containerd.config_file(arguments) == PurePosixPath(path)


def test_imports_are_relative_to_the_file() -> None:
    """Patterns and plain paths, as they stand."""
    parsed = containerd.parse_config(CONFIG, 'imports = ["conf.d/*.toml", "/opt/x.toml"]')
    assert parsed.imports == ("/etc/containerd/conf.d/*.toml", "/opt/x.toml")


@pytest.mark.parametrize("text", ["version = ", "plugins = 1", 'version = "x"', "imports = 7", "[plugins]\ncri = 1"])
def test_a_file_that_is_no_configuration_is_named(text: str) -> None:
    """The agent says that it cannot tell, and which file is in the way."""
    with pytest.raises(ConfigUnreadableError, match=str(CONFIG)):
        containerd.parse_config(CONFIG, text)
