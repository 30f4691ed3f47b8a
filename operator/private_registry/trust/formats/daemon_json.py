"""Docker Engine's daemon.json, edited as text: hosts in `insecure-registries` come and go, every other byte stays.

A host that is added and taken away again leaves the very bytes that were there before, whatever their layout. Source
of what dockerd accepts: moby daemon/config (one JSON object, no key twice in any case it would tell apart).
"""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

KEY = "insecure-registries"

_BLANK = re.compile(r"[ \t\n\r]*")


class DaemonJsonError(ValueError):
    """dockerd cannot read the file, or it says something else than a list under our key; the message says which."""


@dataclass(frozen=True)
class _Span:
    """A member of the object, or an element of the list, with where it stands in the text."""

    start: int
    end: int
    value: Any
    key: str = ""
    value_start: int = 0


def insecure_registries(text: str) -> tuple[str, ...] | None:
    """What the file lists; None when it does not have the key. Raises DaemonJsonError."""
    member = _member(text)
    return None if member is None else tuple(member.value)


def keys(text: str) -> frozenset[str]:
    """All keys that the file sets. Raises DaemonJsonError."""
    return frozenset(member.key for member in _members(text))


def add(text: str, hosts: Collection[str]) -> str:
    """The text with these hosts listed as well, and with a list in any case. Raises DaemonJsonError."""
    member = _member(text)
    if member is None:
        new = f'"{KEY}": [{", ".join(map(json.dumps, hosts))}]'
        return _append(text, list(_members(text)), _start(text), new)
    for host in hosts:
        elements = list(_elements(text, member.value_start))
        if host not in [element.value for element in elements]:
            text = _append(text, elements, member.value_start, json.dumps(host))
    return text


def remove(text: str, hosts: Collection[str], *, drop_key: bool) -> str:
    """The text without these hosts. `drop_key`: a list that is empty then goes as well. Raises DaemonJsonError."""
    member = _member(text)
    if member is None:
        return text
    while True:
        elements = list(_elements(text, member.value_start))
        position = next((at for at, element in enumerate(elements) if element.value in hosts), None)
        if position is None:
            break
        text = _cut(text, elements, position)
    if drop_key and not elements:
        members = list(_members(text))
        text = _cut(text, members, [each.key for each in members].index(KEY))
    return text


def _append(text: str, spans: list[_Span], opening: int, new: str) -> str:
    """Put something behind the last of the spans, laid out as they are, or behind the bracket at `opening`."""
    if not spans:
        return text[: opening + 1] + new + text[opening + 1 :]
    lead = text[opening + 1 : spans[0].start]
    end = spans[-1].end
    return text[:end] + "," + (lead if "\n" in lead else " ") + new + text[end:]


def _cut(text: str, spans: list[_Span], position: int) -> str:
    """Take one of the spans out, with the comma that it needed."""
    if position:
        return text[: spans[position - 1].end] + text[spans[position].end :]
    end = spans[1].start if len(spans) > 1 else spans[0].end
    return text[: spans[0].start] + text[end:]


def _member(text: str) -> _Span | None:
    member = next((each for each in _members(text) if each.key == KEY), None)
    if member is not None and not (
        isinstance(member.value, list) and all(isinstance(host, str) for host in member.value)
    ):
        raise DaemonJsonError(f"{KEY} is no list of strings")
    return member


def _members(text: str) -> Iterator[_Span]:
    """The members of the object, checked as a whole before the first is given."""
    try:
        parsed = json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant)
    except ValueError as error:
        raise DaemonJsonError(str(error)) from None
    if not isinstance(parsed, dict):
        raise DaemonJsonError("it is no JSON object")
    at = _skip(text, _start(text) + 1)
    while text[at] != "}":
        key, end = _decode(text, at)
        value_start = _skip(text, _skip(text, end) + 1)
        value, value_end = _decode(text, value_start)
        yield _Span(at, value_end, value, key, value_start)
        at = _next(text, value_end)


def _elements(text: str, opening: int) -> Iterator[_Span]:
    at = _skip(text, opening + 1)
    while text[at] != "]":
        value, end = _decode(text, at)
        yield _Span(at, end, value)
        at = _next(text, end)


def _next(text: str, end: int) -> int:
    """Where the next one starts, or the closing bracket is."""
    at = _skip(text, end)
    return _skip(text, at + 1) if text[at] == "," else at


def _decode(text: str, at: int) -> tuple[Any, int]:
    value, end = json.JSONDecoder().raw_decode(text, at)
    return value, end


def _start(text: str) -> int:
    return _skip(text, 0)


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    assert match
    return match.end()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = dict(pairs)
    if len(seen) < len(pairs):
        twice = next(key for key, _ in pairs if [each for each, _ in pairs].count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return seen


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
