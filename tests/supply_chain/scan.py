"""Has kube-score and checkov look at every option set, and holds what they find against waivers.toml.

What kube-score calls critical counts. Without an account checkov gives its checks no severity, so each one counts: it
is mended or waived. A waiver names checks and the components that it holds for; one that nothing needs is a mistake.
"""

import json
import subprocess
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from private_registry.api import names
from tests.cluster.commands import CommandError
from tests.contract.documents import Object
from tests.supply_chain.tools import CHECKOV, environment, kube_score

WAIVERS = Path(__file__).with_name("waivers.toml")
MOST_WAIVERS = 5
OLDEST = "v1.30"
CRITICAL = 1
"""kube-score's grade; 5 is a warning, 10 is well."""


@dataclass(frozen=True, order=True)
class Finding:
    """One check that failed on one component of the project: operator, agent, registry and so on."""

    check: str
    component: str
    option_set: str
    text: str


@dataclass(frozen=True)
class Report:
    """What one tool made of all option sets."""

    tool: str
    passed: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Waiver:
    """A reason, and the pairs of check and component that it excuses."""

    name: str
    reason: str
    excuses: frozenset[tuple[str, str]]


def scan(option_sets: Mapping[str, Sequence[Object]], directory: Path) -> list[Report]:
    """Write each option set into a file of its own in `directory`, and have both tools read it. Raises CommandError."""
    for name, objects in option_sets.items():
        file = directory / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump_all(objects))
    return [_by_kube_score(option_sets, directory), _by_checkov(option_sets, directory)]


def waivers(text: str) -> list[Waiver]:
    """Read the file of waivers."""
    return [
        Waiver(
            each["name"],
            each["reason"],
            frozenset((check, component) for component, checks in each["excuses"].items() for check in checks),
        )
        for each in tomllib.loads(text)["waiver"]
    ]


def left(reports: Sequence[Report], excused: Sequence[Waiver]) -> list[Finding]:
    """Return the findings that no waiver excuses."""
    pairs = {pair for waiver in excused for pair in waiver.excuses}
    return sorted(each for report in reports for each in report.findings if (each.check, each.component) not in pairs)


def idle(reports: Sequence[Report], excused: Sequence[Waiver]) -> list[tuple[str, str]]:
    """Return the pairs of check and component that are excused although nothing is found."""
    found = {(each.check, each.component) for report in reports for each in report.findings}
    return sorted({pair for waiver in excused for pair in waiver.excuses} - found)


def verdict(reports: Sequence[Report], excused: Sequence[Waiver], option_sets: int) -> int:
    """Print the counts and what is wrong, and return the exit status."""
    for report in reports:
        kinds = len({(each.check, each.component) for each in report.findings})
        print(
            f"{report.tool}: {report.passed} checks passed on {option_sets} option sets, {len(report.findings)} failed"
            f" ({kinds} kinds of check and component)"
        )
    found = Counter((each.check, each.component) for report in reports for each in report.findings)
    for waiver in excused:
        print(f"waived: {sum(found[pair] for pair in waiver.excuses):4}  {waiver.name}")
    wrong = [f"{each.check} on {each.component} ({each.option_set}): {each.text}" for each in left(reports, excused)]
    wrong += [f"waived, but not found: {check} on {component}" for check, component in idle(reports, excused)]
    if len(excused) > MOST_WAIVERS:
        wrong.append(f"{len(excused)} waivers; {MOST_WAIVERS} is the most there may be")
    print("\n".join([f"not waived: {len(left(reports, excused))}", *wrong]))
    return 1 if wrong else 0


def _by_kube_score(option_sets: Mapping[str, Sequence[Object]], directory: Path) -> Report:
    program, passed, findings = kube_score(), 0, []
    for name in option_sets:  # one by one: in one run an object of one set would be checked against those of another
        command = (program, "score", "--output-format=json", f"--kubernetes-version={OLDEST}")
        optional = "--enable-optional-test=container-seccomp-profile"
        for each in _json((*command, optional, directory / f"{name}.yaml")):
            component = _component(each["object_meta"], each["type_meta"]["kind"])
            for result in each["checks"]:
                passed += result["grade"] > CRITICAL and not result["skipped"]
                if result["grade"] <= CRITICAL and not result["skipped"]:
                    text = "; ".join(comment["summary"] for comment in result["comments"])
                    findings.append(Finding(result["check"]["id"], component, name, text))
    return Report("kube-score", passed, tuple(findings))


def _by_checkov(option_sets: Mapping[str, Sequence[Object]], directory: Path) -> Report:
    program = environment(CHECKOV) / "bin/checkov"
    # Nothing is downloaded and nobody is told: all that it needs is in its package.
    arguments = ("--framework=kubernetes", "--skip-download", "--quiet", "--compact", "--output=json")
    passed, findings = 0, []
    # Each kind by itself: to checkov a network policy holds for the pods of every file, whatever their namespace.
    for kind in sorted({name.partition("/")[0] for name in option_sets}):
        report = _json((program, *arguments, f"--directory={directory / kind}"))
        if report["summary"]["parsing_errors"]:
            raise CommandError(f"checkov cannot read {report['summary']['parsing_errors']} files of {kind}")
        passed += report["summary"]["passed"]
        for each in report["results"]["failed_checks"]:
            name = f"{kind}/{Path(each['file_path']).stem}"
            component = _of_pods(option_sets[name]).get(".".join(each["resource"].split(".")[:3]), each["resource"])
            findings.append(Finding(each["check_id"], component, name, each["check_name"]))
    return Report("checkov", passed, tuple(findings))


def _of_pods(objects: Sequence[Object]) -> dict[str, str]:
    """Return the components of what is a pod or makes pods, by the names that checkov has for it and for its pods."""
    return {
        f"{kind}.{each['metadata']['namespace']}.{each['metadata']['name']}": _component(each["metadata"], each["kind"])
        for each in objects
        if each["kind"] == "Pod" or "template" in each.get("spec", {})
        for kind in ("Pod", each["kind"])
    }


def _component(metadata: Object, kind: str) -> str:
    """Return whose object it is; an object of the project as a whole goes by its own name."""
    named = f"{kind}/{metadata['name']}"
    return str((metadata.get("labels") or {}).get(names.COMPONENT, named))


def _json(command: Sequence[str | Path]) -> Any:
    """Run a tool that ends with 1 where it finds something, and read what it prints. Raises CommandError."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise CommandError(f"{command[0]} ended with {done.returncode} and no report: {done.stderr[-2000:]}") from error
