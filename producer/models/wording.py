"""The sentences that say what a parameter may be, and what came instead."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from producer.models.parameters import IMAGE, SOME_TEXT, VIDEO

LONGEST_SHOWN: Final = 60
"""Characters of a refused value that a message repeats."""

_WORDS: Final = {
    SOME_TEXT: "text, and not empty",
    VIDEO: "an https URL or a video as a data URL",
    IMAGE: "an https URL or a base64 image",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "text",
}


def may_be(schema: Mapping[str, Any]) -> str:
    """What a parameter may be, by its JSON schema."""
    if choices := choices_of(schema):
        return f"one of {', '.join(map(str, choices))}"
    if schema["type"] == "array":
        return f"a list of {schema['minItems']} to {schema['maxItems']}, each {may_be(schema['items'])}"
    return _WORDS[schema.get("pattern", schema["type"])]


def choices_of(schema: Mapping[str, Any]) -> Sequence[str | int]:
    """The only values that a parameter takes; none where it takes any of its type."""
    return [schema["const"]] if "const" in schema else schema.get("enum", [])


def shown(value: Any) -> str:
    """The beginning of a value as JSON."""
    try:
        text = json.dumps(value, default=repr)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
