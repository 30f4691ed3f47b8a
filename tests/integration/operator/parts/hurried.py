"""The operator with its long waits cut short and, if asked for, killed right after so many of its writes.

    python -m tests.integration.operator.parts.hurried operator --kubeconfig=... '{"waits": {...}, "writes": 0}'

The rest is the operator as it is: a minute of patience is not what a test is about. Whoever imports this has imported
the operator as well.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import private_registry.controller.main  # noqa: F401  (main() would do it)
from private_registry.__main__ import main
from private_registry.kube.client import Kube


def hurry(waits: Mapping[str, float]) -> None:
    """Set constants of the program's modules, such as `controller.engine.RESYNC`."""
    for path, value in waits.items():
        module, _, constant = path.rpartition(".")
        room = importlib.import_module(f"private_registry.{module}")
        before = getattr(room, constant)
        assert isinstance(before, float | int | timedelta), path
        setattr(room, constant, timedelta(seconds=value) if isinstance(before, timedelta) else value)


def die_after(writes: int) -> None:
    """End the process by SIGKILL when the API server has answered so many mutating requests. The Lease's are free."""
    call = Kube._call

    async def counted(self: Kube, method: str, path: str, **options: Any) -> dict[str, Any]:
        nonlocal writes
        answer = await call(self, method, path, **options)
        if method != "GET" and "/leases" not in path:
            writes -= 1
            if writes == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return answer

    Kube._call = counted  # type: ignore[method-assign]


def run(arguments: Sequence[str]) -> None:
    """Be the operator."""
    *arguments, how = arguments
    hurry(json.loads(how)["waits"])
    die_after(json.loads(how)["writes"])
    main(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
