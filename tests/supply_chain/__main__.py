"""`python -m tests.supply_chain`: looks at what the project is made of and at what it has a cluster run."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.cluster import versions
from tests.cluster.commands import CommandError
from tests.cluster.processes.process import NotBuiltError
from tests.supply_chain import audit, sbom
from tests.supply_chain.option_sets import option_sets
from tests.supply_chain.scan import WAIVERS, scan, verdict, waivers


def main() -> int:
    """Run one command; return the exit status."""
    top = argparse.ArgumentParser(prog="python -m tests.supply_chain", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=function)
        return added

    command("audit", _audit, f"known vulnerabilities of what the operator runs on; {audit.NOT_ASKED}: nobody to ask")
    command("scan", _scan, "kube-score and checkov on the manifests of every option set")
    each = command("sbom", _sbom, "write what is in the wheel and in the image, as CycloneDX")
    each.add_argument("--image", default=versions.OPERATOR_IMAGE)
    each.add_argument("--directory", type=Path, default=Path("build/sbom"))
    arguments = top.parse_args()
    try:
        return int(arguments.command(arguments))
    except (CommandError, NotBuiltError) as error:
        print(error, file=sys.stderr)
        return 1


def _audit(_arguments: argparse.Namespace) -> int:
    return audit.audit(audit.ask)


def _scan(_arguments: argparse.Namespace) -> int:
    sets = option_sets()
    with tempfile.TemporaryDirectory() as directory:
        return verdict(scan(sets, Path(directory)), waivers(WAIVERS.read_text()), len(sets))


def _sbom(arguments: argparse.Namespace) -> int:
    for line in sbom.write(arguments.directory, arguments.image):
        print(f"sbom: {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
