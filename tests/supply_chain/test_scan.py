"""That the scan looks at everything, finds what is wrong, and waives no more than is written down.

The scan itself is a stage of the suite: `python -m tests.supply_chain scan`.
"""

from pathlib import Path

import pytest

from tests.contract.documents import EXAMPLES, Object, schema
from tests.supply_chain.option_sets import registries
from tests.supply_chain.scan import MOST_WAIVERS, WAIVERS, Finding, Report, Waiver, idle, left, scan, verdict, waivers

FOUND = Finding("privileged", "agent", "install/plain", "the container is privileged")
REPORTS = [Report("a-tool", 3, (FOUND,))]
EXCUSE = Waiver("why", "because", frozenset({("privileged", "agent")}))


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (("tls",), ("tls", "mode")),
        (("service",), ("service", "type")),
        (("storage",), ("storage", "accessMode")),
    ],
)
def test_every_option_of_a_registry_is_scanned(path: tuple[str, ...], fields: tuple[str, str]) -> None:
    """Each way of serving and storing that the CRD knows is in an option set, but for what changes no pod."""
    part, field = fields
    options = schema("privateregistries")["properties"]["spec"]["properties"][part]["properties"][field]
    wanted = {spec.get(part, {}).get(field, options["default"]) for spec in registries().values()}
    same = {"ReadWriteMany"} if field == "accessMode" else set()  # a word in the claim and nothing else
    assert wanted == set(options["enum"]) - same


def test_every_example_is_scanned() -> None:
    """What a user copies has been looked at."""
    assert {f"example-{path.stem}" for path in EXAMPLES} <= set(registries())


def test_both_tools_find_a_privileged_pod(tmp_path: Path) -> None:
    """Neither passes because it was given nothing, or was not run at all."""
    reports = scan({"bad/pod": [privileged_pod()]}, tmp_path)
    checks = {report.tool: {(each.check, each.component) for each in report.findings} for report in reports}
    assert ("container-security-context-privileged", "intruder") in checks["kube-score"]
    assert ("CKV_K8S_16", "intruder") in checks["checkov"]
    assert all(report.passed for report in reports)


def test_a_finding_that_nothing_excuses_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """It is named with its component and the option set."""
    assert verdict(REPORTS, [], 1) == 1
    assert "privileged on agent (install/plain)" in capsys.readouterr().out


def test_a_waiver_is_for_the_components_that_it_names() -> None:
    """What an agent may do excuses no registry."""
    registry = Report("a-tool", 3, (Finding("privileged", "registry", "registry/smallest", "it is privileged"),))
    assert left([*REPORTS, registry], [EXCUSE]) == list(registry.findings)
    assert verdict(REPORTS, [EXCUSE], 1) == 0


def test_a_waiver_that_nothing_needs_fails() -> None:
    """What was mended is taken off the list, or it could come back unseen."""
    nothing = [Report("a-tool", 4, ())]
    assert idle(nothing, [EXCUSE]) == [("privileged", "agent")]
    assert verdict(nothing, [EXCUSE], 1) == 1


def test_there_are_no_more_waivers_than_one_can_remember() -> None:
    """Each has a reason."""
    written = waivers(WAIVERS.read_text())
    assert len(written) <= MOST_WAIVERS
    assert all(len(each.reason.split()) > 10 for each in written)
    assert verdict(REPORTS, [EXCUSE] * (MOST_WAIVERS + 1), 1) == 1


def privileged_pod() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad", "namespace": "bad", "labels": {"app.kubernetes.io/component": "intruder"}},
        "spec": {"containers": [{"name": "bad", "image": "bad:1", "securityContext": {"privileged": True}}]},
    }
