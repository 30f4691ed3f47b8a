"""What an agent says of its node."""

import pytest

from private_registry.agent.report import MAX_MESSAGE, Found, Row, RuntimeConfig, build
from private_registry.api import nodetrust
from private_registry.api.nodetrust import NodeTrustStatus, RegistryTrust
from private_registry.trust.reasons import TRUSTED, Reason, Verdict

RUNTIMES = [Found("containerd", "2.2.9", "/etc/containerd/certs.d")]
BROKEN = Verdict(Reason.UNREACHABLE, "https://10.96.0.1:5000 cannot be reached")
FIRST, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def test_the_columns_of_kubectl() -> None:
    """Runtime, how many of how many, and the first thing that is wrong."""
    status = build([Row("b/broken", "1" * 16, BROKEN), Row("a/fine", "2" * 16, TRUSTED)], RUNTIMES, {}, FIRST)
    assert (status["runtime"], status["summary"], status["total"], status["trusted"]) == (
        "containerd 2.2.9",
        "1/2",
        2,
        1,
    )
    assert status["message"] == f"b/broken: {BROKEN.message}"
    assert [row["registry"] for row in status["registries"]] == ["a/fine", "b/broken"]


def test_a_note_hides_nothing_that_is_wrong() -> None:
    """What people have to know of one that is trusted is in the column when nothing is wrong, and then only."""
    noted = Row("a/noted", "2" * 16, Verdict(Reason.TRUSTED, "pulls with a credential"))
    assert build([noted], RUNTIMES, {}, FIRST)["message"] == "a/noted: pulls with a credential"
    status = build([noted, Row("b/broken", "1" * 16, BROKEN)], RUNTIMES, {}, FIRST)
    assert (status["summary"], status["message"]) == ("1/2", f"b/broken: {BROKEN.message}")


def test_every_runtime_is_named() -> None:
    """A build node runs Docker beside containerd."""
    runtimes = [*RUNTIMES, Found("docker", "26.1.5", "/etc/docker/certs.d")]
    status = build([], runtimes, {}, FIRST)
    assert status["runtime"] == "containerd 2.2.9, docker 26.1.5"
    assert [each["name"] for each in status["runtimes"]] == ["containerd", "docker"]


def test_the_operator_reads_what_the_agent_says() -> None:
    """The agent spells the status out, for want of memory; it is the operator's model of it, field by field."""
    waiting = RuntimeConfig("Waiting", "1" * 16, "its turn")
    status = build([Row("b/broken", "1" * 16, BROKEN)], RUNTIMES, {}, FIRST, config=waiting)
    assert NodeTrustStatus.model_validate(status).model_dump(mode="json", by_alias=True) == status
    assert status.keys() == {field.alias for field in NodeTrustStatus.model_fields.values()}
    assert status["registries"][0].keys() == {field.alias for field in RegistryTrust.model_fields.values()}
    assert status["runtimeConfig"].keys() == {field.alias for field in nodetrust.RuntimeConfig.model_fields.values()}
    assert status["runtimes"][0].keys() == {field.alias for field in nodetrust.Runtime.model_fields.values()}
    assert MAX_MESSAGE == nodetrust.MAX_MESSAGE


def test_one_that_is_being_undone_is_listed_and_not_counted() -> None:
    """It is no longer wanted, and still there."""
    status = build([Row("a/gone", "", Verdict(Reason.UNDOING))], RUNTIMES, {}, FIRST)
    assert (status["summary"], len(status["registries"])) == ("0/0", 1)


def test_what_did_not_change_is_said_in_the_same_words() -> None:
    """An hour later the status is equal, so that it is not written."""
    rows = [Row("a/fine", "2" * 16, TRUSTED), Row("b/broken", "1" * 16, BROKEN)]
    before = build(rows, RUNTIMES, {}, FIRST)
    assert build(rows, RUNTIMES, before, LATER) == before


@pytest.mark.parametrize(
    ("row", "time"),
    [
        (Row("a/fine", "3" * 16, TRUSTED), FIRST),
        (Row("a/fine", "2" * 16, BROKEN), LATER),
    ],
)
def test_the_transition_time_moves_with_trust_and_reason_only(row: Row, time: str) -> None:
    """A new entry that is trusted like the last one is no transition."""
    before = build([Row("a/fine", "2" * 16, TRUSTED)], RUNTIMES, {}, FIRST)
    assert build([row], RUNTIMES, before, LATER)["registries"][0]["lastTransitionTime"] == time


def test_a_node_without_runtime_says_so_in_the_message() -> None:
    """There is nothing to name in the column of runtimes."""
    status = build([Row("a/x", "1" * 16, Verdict(Reason.NO_RUNTIME, "no containerd"))], [], {}, FIRST)
    assert (status["runtime"], status["runtimes"], status["message"]) == ("", [], "a/x: no containerd")


def test_a_page_of_text_is_cut() -> None:
    """The CRD takes 1024 characters."""
    row = Row("a/x", "1" * 16, Verdict(Reason.PROOF_FAILED, "x" * 5000))
    assert len(build([row], RUNTIMES, {}, FIRST)["registries"][0]["message"]) == 1024
