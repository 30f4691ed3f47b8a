"""What the documentation claims, against the code and the tests that prove it."""

import re
from pathlib import Path

from private_registry.trust.reasons import Reason
from tests.integration import containerd_matrix

ROOT = Path(__file__).parents[2]

ON_THE_WAY = {Reason.TRUSTED, Reason.APPLYING, Reason.UNDOING}


def test_the_table_of_runtimes_is_the_one_that_is_tested() -> None:
    """Each cell of docs/runtimes.md is a case that the integration tests put to the daemon itself."""
    assert containerd_matrix.table() in (ROOT / "docs" / "runtimes.md").read_text()


def test_the_readme_explains_every_reason_of_a_node() -> None:
    """Whoever sees one in a NodeTrust finds it there."""
    readme = (ROOT / "README.md").read_text()
    assert not [reason for reason in set(Reason) - ON_THE_WAY if f"{reason}" not in readme]


def test_the_startup_taint_is_called_as_the_component_has_it() -> None:
    """Whoever copies a line from docs/nodes.md registers nodes with the taint that the operator takes away."""
    component = (ROOT / "manifests" / "startup-taint" / "kustomization.yaml").read_text()
    page = (ROOT / "docs" / "nodes.md").read_text()
    (option,) = re.findall(r"--startup-taint=(\S+)", component)
    assert set(re.findall(r"[a-z.]*privateregistry\.dev/starting\b", page)) == {option}
