"""Which versions have known holes that matter here, and which of them run. Pure.

The table is the only one. A version tells what was released under it: what a distributor has patched is not seen by it,
so this warns, and takes nothing away. Of Docker Engine and CRI-O it knows nothing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from private_registry.api.conditions import Reason

Version = tuple[int, ...]

FIXED: Final[Mapping[str, Mapping[Version, tuple[Version, str]]]] = {
    "registry": {
        # One request for the catalog takes all memory: https://nvd.nist.gov/vuln/detail/CVE-2023-2253
        (2, 8): ((2, 8, 2), "CVE-2023-2253"),
        # Tags are deleted though deletion is off: https://github.com/advisories/GHSA-6pjf-3r9x-m592
        (3, 1): ((3, 1, 1), "CVE-2026-41888"),
    },
    # The label of a pulled image runs a command on its node (CVE-2026-53488): release notes of containerd, per line
    "containerd": {
        (1, 7): ((1, 7, 33), "CVE-2026-53488"),
        (2, 0): ((2, 0, 10), "CVE-2026-53488"),
        (2, 1): ((2, 1, 9), "CVE-2026-53488"),
        (2, 2): ((2, 2, 5), "CVE-2026-53488"),
        (2, 3): ((2, 3, 2), "CVE-2026-53488"),
    },
}
"""By program and line of releases: the first version of the line without the hole. A line that is missing is judged by
the next newer one; lines newer than all are fine."""

_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?![\d.])")
_IMAGE = re.compile(r"(?:.*/)?(?:registry|distribution):([^@/:]+)(?:@.*)?")
_NODES = 10


def flaw(program: str, version: str) -> str:
    """What is wrong with a version, and the fix; empty when nothing is known to be."""
    match = _VERSION.match(version)
    if not match:
        return ""
    found = tuple(map(int, match.groups()))
    for line, (fixed, identifier) in sorted(FIXED.get(program, {}).items()):
        if found[:2] <= line:
            first = ".".join(map(str, fixed))
            return f"is older than {first}, which fixes {identifier}: update it" if found < fixed else ""
    return ""


def outdated(images: Iterable[str], runtimes: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[tuple[Reason, str]]:
    """What to warn of: images that registries run, and what their agents found on nodes, by the nodes' names.

    A registry tells its version to nobody but its log: it goes by the tag, where the image is called `registry` or
    `distribution` and the tag is a whole version.
    """
    said = []
    for image in sorted(set(images)):
        tag = _IMAGE.fullmatch(image)
        if tag and (text := flaw("registry", tag.group(1))):
            said.append((Reason.REGISTRY_OUTDATED, f"the image {image} {text}"))
    nodes: dict[str, list[str]] = {}
    for node, found in sorted(runtimes.items()):
        for runtime in found:
            name, version = runtime.get("name", ""), runtime.get("version", "")
            if text := flaw(name, version):
                nodes.setdefault(f"{name} {version} {text}", []).append(node)
    for text, names in nodes.items():
        more = f" and {len(names) - _NODES} more" if len(names) > _NODES else ""
        said.append((Reason.RUNTIME_OUTDATED, f"{', '.join(names[:_NODES])}{more}: {text}"))
    return said
