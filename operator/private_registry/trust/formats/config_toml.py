"""containerd's configuration file as text: `config_path` put in and taken out, with every other byte kept.

tomlkit edits the text; tomllib, which reads as strictly as containerd, says whether the result means what it should.
"""

import tomllib
from collections.abc import Callable, MutableMapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from private_registry.trust.containerd import plugin

_KEY = "config_path"

Table = MutableMapping[str, Any]


class ConfigNotEditableError(ValueError):
    """The file cannot be edited so that this setting changes and nothing else; the message says why."""


def set_config_path(text: str, directory: str, *, version: int) -> str:
    """The text with `config_path` set to a directory.

    `version` of the format: for a file that says nothing at all. Raises ConfigNotEditableError.
    """
    text = text if _parsed(text) else f"{text}version = {version}\n"

    def put(document: Table, new: Callable[[], Table]) -> None:
        table = document
        for name in _path(document):
            if name not in table:
                table[name] = new()
            table = table[name]
        table[_KEY] = directory

    return _edited(text, put)


def unset_config_path(text: str, directory: str, before: str) -> str:
    """The text as it was `before`, as far as `config_path` goes; what else has changed since stays.

    A value that is not `directory` any more stays, too. Raises ConfigNotEditableError.
    """
    if not is_set(text, directory):
        return text
    previous = _value(_parsed(before))

    def take_out(document: Table, _: Callable[[], Table]) -> None:
        table = document
        for name in _path(document):
            table = table[name]
        if previous is None:
            del table[_KEY]
        else:
            table[_KEY] = previous

    return _edited(text, take_out)


def is_set(text: str, directory: str) -> bool:
    """Whether `config_path` is this directory. Raises ConfigNotEditableError."""
    return _value(_parsed(text)) == directory


def _edited(text: str, edit: Callable[[Table, Callable[[], Table]], None]) -> str:
    meant = _parsed(text)
    try:
        document = tomlkit.parse(text)
        edit(document, tomlkit.table)
        edit(meant, dict)
        edited = document.as_string()
    except (TOMLKitError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise ConfigNotEditableError(f"config_path has no place in it ({error})") from None
    # Belt and braces: no library is trusted with the file that starts every container of the node.
    if _parsed(edited) != meant or not _is_one_change(text, edited):
        raise ConfigNotEditableError("it is written in a way that cannot be edited without changing something else")
    return edited


def _is_one_change(text: str, edited: str) -> bool:
    """Whether one stretch of lines was put in, taken out or exchanged, of at most as many as this setting takes."""
    before, after = text.splitlines(keepends=True), edited.splitlines(keepends=True)
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    rest = 0
    while rest < min(len(before), len(after)) - same and before[-1 - rest] == after[-1 - rest]:
        rest += 1
    return len(before) - same - rest <= 1 and len(after) - same - rest <= 4


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigNotEditableError(f"it is no TOML ({error})") from None


def _path(document: Table) -> tuple[str, str, str]:
    version = document.get("version", 1)
    return "plugins", plugin(version if isinstance(version, int) else 1), "registry"


def _value(document: Table) -> object:
    table: Any = document
    for name in (*_path(document), _KEY):
        if not isinstance(table, MutableMapping) or name not in table:
            return None
        table = table[name]
    return table
