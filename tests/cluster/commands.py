"""Runs other programs, so that none of them outlives us and none of them fails silently."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

# A child is killed with the thread that started it: a test run or a build that is cut off leaves no process behind.
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


class CommandError(Exception):
    """A program ended with a non-zero status. The message names it and holds the end of what it printed."""


def tail(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log file, or a word about why there are none."""
    try:
        text = log.read_text(errors="replace").splitlines()
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(text[-lines:]) or "(the log is empty)"


def run(
    *argv: str | Path,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> None:
    """Run a program to its end and append what it prints to `log`. `env` is added to the environment.

    Raises CommandError when it ends with a non-zero status, cannot be started, or takes longer than `timeout` seconds.
    """
    command = " ".join(str(word) for word in argv)
    with log.open("ab") as out:
        out.write(f"$ {command}\n".encode())
        out.flush()
        try:
            done = subprocess.run(
                [*DIE_WITH_PARENT, *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                timeout=timeout,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CommandError(f"{command}: {error}\n{tail(log)}") from error
    if done.returncode:
        raise CommandError(f"{command} ended with status {done.returncode}; the end of {log}:\n{tail(log)}")


def output(
    *argv: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 60
) -> str:
    """Run a program that is soon done and return its standard output, stripped. Raises CommandError."""
    command = " ".join(str(word) for word in argv)
    try:
        done = subprocess.run(
            [*DIE_WITH_PARENT, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"{command}: {error}") from error
    if done.returncode:
        raise CommandError(f"{command} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()
