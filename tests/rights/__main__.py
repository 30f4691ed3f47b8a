"""The last stage of `make test`: that every right which the installation grants was used by a test.

It judges what the stages before it have kept. Without the integration tests among them there is nothing to judge.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path

from tests.rights import DIRECTORY
from tests.rights.granted import Right, grants
from tests.rights.record import WHOLE


def main() -> int:
    """Print granted and used, by role, and what was not used; return the exit status."""
    directory = os.environ.get(DIRECTORY)
    if not directory or not all((Path(directory) / f"{part}.json").exists() for part in WHOLE):
        print("rights: only a run with the integration tests can tell which are unused, such as `make test`")
        return 0
    granted = grants().rights
    kept = [json.loads(path.read_text()) for path in Path(directory).glob("*.json")]
    used = granted & {Right(*each) for part in kept for each in part}
    numbers = Counter(right.role for right in used)
    for role, number in sorted(Counter(right.role for right in granted).items()):
        print(f"{number:4} granted {numbers[role]:4} used   {role}")
    print(f"{len(granted):4} granted {len(used):4} used   in all")
    for right in sorted(granted - used):
        print(f"no test used {right}: take it out of manifests/, or test what needs it")
    return 1 if granted - used else 0


if __name__ == "__main__":
    sys.exit(main())
