"""Log lines: what machines parse and what people read."""

import json
import logging
from datetime import UTC, datetime

import pytest

from private_registry import log

logger = logging.getLogger("private_registry.test")


pytestmark = pytest.mark.usefixtures("logging_as_before")


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """One object each: time in UTC, level, logger, message, and whatever the line is about."""
    log.setup("json", "info")
    logger.warning("the %s refused", "API server", extra={"key": "registries/team", "retry": 0.5})
    line = json.loads(capsys.readouterr().err)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(line.pop("time"))).total_seconds() < 60
    assert line == {
        "level": "warning",
        "logger": "private_registry.test",
        "message": "the API server refused",
        "key": "registries/team",
        "retry": 0.5,
    }


def test_what_is_no_json_is_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A line is never lost because of what it is about."""
    log.setup("json", "info")
    logger.info("failed", extra={"error": ValueError("no")})
    assert json.loads(capsys.readouterr().err)["error"] == "no"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_an_error_has_its_traceback(log_format: log.Format, capsys: pytest.CaptureFixture[str]) -> None:
    """In JSON on the same line as everything else."""
    log.setup(log_format, "info")
    try:
        int("a\nb")
    except ValueError:
        logger.exception("it failed", extra={"key": "registries/team"})
    text = capsys.readouterr().err
    assert "ValueError: invalid literal" in text
    assert "registries/team" in text
    if log_format == "json":
        assert text.count("\n") == 1
        assert json.loads(text)["exception"].startswith("Traceback")


def test_text_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """For a person at a terminal: the same, in one readable line."""
    log.setup("text", "info")
    logger.warning("changed meanwhile", extra={"key": "registries/team"})
    logger.info("nothing more")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(" WARNING changed meanwhile key=registries/team")
    assert second.endswith(" INFO    nothing more")


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing below it, and of the libraries' chatter nothing below a warning."""
    log.setup("json", "debug")
    logger.debug("mine")
    logging.getLogger("kopf.objects").info("each handler call")
    logging.getLogger("aiohttp.access").info("each request")
    logging.getLogger("kopf.objects").warning("trouble")
    messages = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert messages == ["mine", "trouble"]
    log.setup("json", "error")
    logger.warning("mine")
    logging.getLogger("kopf.objects").warning("trouble")
    assert capsys.readouterr().err == ""


def test_what_kopf_adds_for_itself_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Its lines carry the whole object that they speak of, Secrets included if it watched any."""
    log.setup("json", "info")
    logger.info("ours", extra={"k8s_ref": {"kind": "Secret"}, "_private": 1})
    assert json.loads(capsys.readouterr().err).keys() == {"time", "level", "logger", "message"}


def test_a_second_setup_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line once."""
    log.setup("text", "info")
    log.setup("json", "info")
    logger.info("once")
    assert json.loads(capsys.readouterr().err)["message"] == "once"
