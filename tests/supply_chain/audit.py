"""Asks a vulnerability service about every package that the operator runs on.

Where packages come from a mirror, pip-audit's own service often is not there: it answers 404 for each package, and
pip-audit then says "No known vulnerabilities found" and exits with 0. So its report is read package by package, and
only what a service has answered for counts as asked.

A mirror without the pages of single versions may have those of projects. They tell of the newest version: where that is
the one that is pinned, it has been asked about.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from tests.supply_chain.tools import AUDIT, ROOT, RUNTIME, environment

SERVICES = ("pypi", "osv", "newest")
"""The one that knows the packages by their publisher first. Each is asked only where those before are not there."""

_INDEX = re.compile(r"Base URL of the Python Package Index \(default (\S+?)/?\)")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)

LONGEST_SECONDS = 300
"""A network that swallows every question must not hold up a whole test run."""

CLEAN, VULNERABLE, NOT_ASKED = 0, 1, 75
"""How it ends. The last one is what sysexits.h calls a failure that another time, or place, may not have."""


@dataclass(frozen=True)
class Answer:
    """What one service said: the packages that it knows, what is wrong with them, and why others were not asked."""

    asked: int
    vulnerable: tuple[str, ...]
    unasked: tuple[str, ...]


Service = Callable[[str, Path], Answer]


def audit(ask: Service, lock: Path = ROOT / RUNTIME) -> int:
    """Ask one service after the other until one has answered for all; print what came of it and return the status."""
    unasked: list[str] = []
    for service in SERVICES:
        answer = ask(service, lock)
        if answer.vulnerable:
            print(f"audit: {service} knows of {len(answer.vulnerable)} vulnerabilities:")
            print("\n".join(f"  {each}" for each in answer.vulnerable))
            return VULNERABLE
        if answer.asked and not answer.unasked:
            print(f"audit: {service} knows of no vulnerability in {answer.asked} packages of {lock.name}")
            return CLEAN
        unasked.append(
            f"  {service}: {answer.asked} packages answered for, {len(answer.unasked)} not: {answer.unasked[0]}"
        )
    print("audit: NOT DONE. No vulnerability service could be asked, so nothing is known, good or bad:")
    print("\n".join(unasked))
    print("Run `make audit` on a machine that reaches one of them.")
    return NOT_ASKED


def ask(service: str, lock: Path) -> Answer:
    return newest(lock, projects()) if service == "newest" else pip_audit(service, lock)


def pip_audit(service: str, lock: Path) -> Answer:
    """Have pip-audit ask `service` about the packages of a lock file. Raises CommandError when it is not to be had."""
    program = environment(AUDIT) / "bin/pip-audit"
    what = ("--requirement", lock, "--require-hashes", "--disable-pip", f"--vulnerability-service={service}")
    how = ("--format=json", "--progress-spinner=off", "--timeout=20")
    with tempfile.TemporaryDirectory() as cache:  # or an answer of yesterday would be one of today
        try:
            done = subprocess.run(
                [program, *what, *how, f"--cache-dir={cache}"],
                capture_output=True,
                text=True,
                timeout=LONGEST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return Answer(0, (), (str(error),))
    try:
        return read(done.stdout)
    except ValueError:  # it broke off without a report
        return Answer(0, (), ((done.stderr.strip() or "no report").splitlines()[-1],))


def read(report: str) -> Answer:
    """Read pip-audit's report in JSON. Raises ValueError for what is none."""
    packages = json.loads(report)["dependencies"]
    return Answer(
        asked=sum("vulns" in each for each in packages),
        vulnerable=tuple(
            f"{each['name']} {each['version']}: {found['id']}, fixed in {' or '.join(found['fix_versions']) or 'none'}"
            for each in packages
            for found in each.get("vulns", ())
        ),
        unasked=tuple(each["skip_reason"] for each in packages if "skip_reason" in each),
    )


def projects() -> str:
    """Where the pages of projects are, beside the index that pip takes packages from on this machine.

    A user name in it is left out, with a password that pip does not show either.
    """
    pip = [sys.executable, "-m", "pip", "install", "--help"]
    # pip itself tells only what was configured, but for its help, which has what it goes by.
    said = subprocess.run(pip, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "1000"}).stdout
    found = _INDEX.search(said)
    assert found, "pip does not say where it takes packages from"
    return str(URL(found[1].removesuffix("/simple")).with_user(None) / "pypi")


def newest(lock: Path, pages: str) -> Answer:
    """What the page of each project says of its newest version, where a lock file has that one."""
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(lambda pinned: _of_project(pages, *pinned), _PINNED.findall(lock.read_text()))
        return _together(answers)


def _of_project(pages: str, name: str, version: str) -> Answer:
    try:
        with urllib.request.urlopen(f"{pages}/{name}/json", timeout=20) as answer:
            page = json.load(answer)
        if page["info"]["version"] != version:
            told = f"{name} {version} is pinned, and its project tells of {page['info']['version']}: run `make lock`"
            return Answer(0, (), (told,))
        known = [
            f"{name} {version}: {found['id']}, fixed in {' or '.join(found['fixed_in']) or 'none'}"
            for found in page["vulnerabilities"]
            if not found.get("withdrawn")
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Answer(0, (), (f"{name}: {error!r}",))
    return Answer(1, tuple(known), ())


def _together(answers: Iterable[Answer]) -> Answer:
    found = tuple(answers)
    return Answer(
        sum(each.asked for each in found),
        tuple(line for each in found for line in each.vulnerable),
        tuple(line for each in found for line in each.unasked),
    )
