"""What each part of the test suite has used of the installation's rights, kept until the last stage judges it all.

A part on its own cannot tell that a right is unused, but it can tell that one is missing.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path

from tests.contract.documents import Object
from tests.rights import DIRECTORY, PART
from tests.rights.granted import grants
from tests.rights.replay import replay

WHOLE = ("operator", "nodes")
"""The parts that use every right of operator and agents between them."""


def settle(events: Iterable[Object], *, of: str = "") -> None:
    """Keep what these requests used, of one thing or another. Raises AssertionError when one of ours was refused for
    want of a right.
    """
    seen = replay(events, grants())
    if directory := os.environ.get(DIRECTORY):
        used = [astuple(right) for right in sorted(seen.used)]
        (Path(directory) / f"{os.environ[PART]}{of}.json").write_text(json.dumps(used))
    assert not seen.missing, f"rights that the installation does not grant: {'; '.join(sorted(seen.missing))}"
