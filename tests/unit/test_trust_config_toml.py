"""The edit of containerd's configuration: one setting, and not another byte."""

import tomllib

import pytest

from private_registry.trust.formats.config_toml import ConfigNotEditableError, set_config_path, unset_config_path

DIRECTORY = "/etc/containerd/certs.d"
V1, V2, V3 = "cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"

KIND = f"""version = 2

[plugins]  # all of them
  [plugins."{V2}"]
    sandbox_image = 'pause:3.10' # why
    [plugins."{V2}".containerd]
      snapshotter = "overlayfs"

[plugins."other"]
a   =  1
"""

TEXTS = {
    "the default": (f"version = 3\n[plugins.'{V3}'.registry]\n  config_path = '' # none\n\n[grpc]\n", V3),
    "another value": (f"version = 3\n[plugins.'{V3}'.registry]\n  config_path = '/nowhere'\n", V3),
    "the table without it": (
        f"version = 2\n[plugins.'{V2}'.registry]\n[plugins.'{V2}'.registry.headers]\nX=['y']\n",
        V2,
    ),
    "the plugin without the table": (KIND, V2),
    "no plugin": ("version = 3\n# nothing\n", V3),
    "only comments": ("# nothing\n", V3),
    "nothing": ("", V3),
    "tables in another order": (f"version = 3\n[plugins.'{V3}']\na=1\n[debug]\nb=2\n[plugins.x]\nc=3\n# end\n", V3),
    "inline": (f"version = 3\n[plugins.'{V3}']\nregistry = {{ config_path = '' }}\n", V3),
    "dotted": (f"version = 3\n[plugins.'{V3}']\nregistry.config_path = ''\n", V3),
    "no last newline": (f"version = 3\n[plugins.'{V3}']\nsnapshotter = 'native'", V3),
    "lines that end as on Windows": (f"version = 3\r\n[plugins.'{V3}']\r\n  a = 1\r\n[debug]\r\n", V3),
    "the format of 1.2": ("[plugins]\n  [plugins.cri]\n    a = 1\n", V1),
    "a text that looks like tables": (
        f'version = 3\nnote = """\n[plugins.x.registry]\nconfig_path = 1\n"""\n[plugins.\'{V3}\']\n',
        V3,
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_it_is_set_and_nothing_else_changes(name: str) -> None:
    """Wherever the setting stands or would have to stand, it is what was asked for; every other line is as it was."""
    text, plugin = TEXTS[name]
    edited = set_config_path(text, DIRECTORY, version=3)
    assert tomllib.loads(edited)["plugins"][plugin]["registry"]["config_path"] == DIRECTORY
    kept = [line for line in text.splitlines() if "config_path" not in line]
    left = iter(edited.splitlines())
    assert all(line in left for line in kept)
    assert len(edited.splitlines()) <= len(text.splitlines()) + 4
    assert set_config_path(edited, DIRECTORY, version=3) == edited


@pytest.mark.parametrize("name", TEXTS)
def test_it_is_taken_out_where_others_have_written_too(name: str) -> None:
    """What somebody else has changed since stays; the setting means what it meant before."""
    text, _ = TEXTS[name]
    since = set_config_path(text, DIRECTORY, version=3) + "\n[metrics]\naddress = '127.0.0.1:1'\n"
    left = unset_config_path(since, DIRECTORY, text)
    assert left.endswith("\n[metrics]\naddress = '127.0.0.1:1'\n")
    assert DIRECTORY not in left
    for word in ("/nowhere", "# none", "# why", "snapshotter"):
        assert (word in left) == (word in text)


def test_a_value_of_somebody_else_stays() -> None:
    """Whoever has set another directory since, keeps it."""
    text = f"version = 3\n[plugins.'{V3}'.registry]\nconfig_path = '/mine'\n"
    assert unset_config_path(text, DIRECTORY, "") == text


@pytest.mark.parametrize(
    "text",
    [
        "version = [",
        "version = 3\nplugins = 1\n",
        f"version = 3\n[plugins]\n'{V3}' = 'on'\n",
        f"version = 3\n[[plugins.'{V3}'.registry]]\n",
    ],
)
def test_a_file_that_has_no_place_for_it(text: str) -> None:
    """It is refused with the reason; nothing is guessed."""
    with pytest.raises(ConfigNotEditableError, match=r"config_path has no place in it|it is no TOML"):
        set_config_path(text, DIRECTORY, version=3)
