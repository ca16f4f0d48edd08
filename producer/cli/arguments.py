"""Reads the text of a command's arguments."""

from collections.abc import Callable
from typing import Any

from producer.cli.exits import Exit, leave
from producer.text import UnreadableText, text_of


def argument_text(text: str) -> str:
    """Return an argument as text; leave if it is none."""
    try:
        return text_of(text)
    except UnreadableText as error:
        leave(Exit.USAGE, f"{text!a} cannot be read: {error}.")


def pairs(given: list[str] | None, option: str, read: Callable[[str], Any]) -> dict[str, Any]:
    """Parse options of the form name=value."""
    found: dict[str, Any] = {}
    for item in map(argument_text, given or []):
        name, equals, value = item.partition("=")
        if not (name and equals):
            leave(Exit.USAGE, f"{option} takes name=value; got {item!r}")
        found[name] = read(value)
    return found
