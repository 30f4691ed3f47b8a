"""Our lines in /etc/hosts: added and taken away with every other byte kept."""

import pytest

from private_registry.trust.formats import etc_hosts
from private_registry.trust.formats.etc_hosts import Alias

ALIAS = Alias("10.96.12.34", ("team.registries.svc",))
LINE = ALIAS.line("registries/team", "0123456789abcdef")
OTHER = Alias("10.96.0.9", ("other.registries.svc",)).line("registries/other", "0123456789abcdef")

FILES = [
    b"",
    b"\n",
    b"127.0.0.1\tlocalhost",
    b"127.0.0.1\tlocalhost\n",
    b"127.0.0.1 localhost\r\n::1 localhost\r\n",
    b"# comment\n\n\n127.0.0.1 localhost # loopback\n\xff\xfe not text \x00\n",
    OTHER + b"127.0.0.1 localhost",
]


@pytest.mark.parametrize("before", FILES)
def test_a_line_comes_and_goes_without_a_trace(before: bytes) -> None:
    """Whatever the file was, also without a last newline, it is that again afterwards."""
    added = etc_hosts.edit(before, "registries/team", LINE)
    assert added.endswith(before)
    assert "registries/team" in etc_hosts.owners(added)
    assert etc_hosts.edit(added, "registries/team", None) == before


@pytest.mark.parametrize("before", FILES)
def test_a_file_that_is_right_is_not_changed(before: bytes) -> None:
    """Also when somebody has moved our line, or lines came in front of it."""
    right = b"192.0.2.1 first\n" + etc_hosts.edit(before, "registries/team", LINE)
    assert etc_hosts.edit(right, "registries/team", LINE) == right


def test_a_new_address_replaces_the_old_one() -> None:
    """There is one line for each registry."""
    moved = Alias("10.96.55.55", ALIAS.names).line("registries/team", "fedcba9876543210")
    changed = etc_hosts.edit(LINE + OTHER + b"127.0.0.1 localhost\n", "registries/team", moved)
    assert changed == moved + OTHER + b"127.0.0.1 localhost\n"


def test_the_names_of_a_line_are_read_back() -> None:
    """Of the registry's own line, whatever others say of it."""
    two = Alias("10.96.12.34", ("team.registries.svc", "team.registries.svc.cluster.local"))
    content = b"192.0.2.1 x\n" + two.line("registries/team", "0123456789abcdef") + OTHER
    assert etc_hosts.names(content, "registries/team") == set(two.names)
    assert etc_hosts.names(content, "registries/none") == frozenset()


def test_somebody_elses_line_for_the_name_is_noticed() -> None:
    """The runtime would try that address too: nothing is written, and the address is named."""
    assert etc_hosts.foreign_address(b"192.0.2.1 x team.registries.svc y\n", ALIAS) == (
        "team.registries.svc",
        "192.0.2.1",
    )
    assert etc_hosts.foreign_address(b"10.96.12.34 team.registries.svc\n", ALIAS) is None
    assert etc_hosts.foreign_address(b"# 192.0.2.1 team.registries.svc\n" + LINE, ALIAS) is None


@pytest.mark.parametrize("before", FILES)
def test_what_a_crash_leaves_is_told_from_an_edit(before: bytes) -> None:
    """Written in place and cut off anywhere, the file is made good; what somebody wrote since is left alone."""
    after = etc_hosts.edit(before, "registries/team", LINE)
    for old, new in ((before, after), (after, before)):
        for cut in range(1, len(new) + 1):
            half = new[:cut] + old[cut:]
            assert etc_hosts.torn(half, old, new) == (half not in (old, new)), half
        assert not etc_hosts.torn(new, old, new)
        assert not etc_hosts.torn(new + b"192.0.2.1 somebody\n", old, new)
        assert not etc_hosts.torn(b"192.0.2.1 somebody\n" + old, old, new)
