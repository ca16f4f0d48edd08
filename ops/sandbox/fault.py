"""Faults: their kinds, and how a directive in a prompt asks for them.

A directive is part of a prompt, `[sandbox: submit=429 retry_after=2 times=1]`, or JSON with the same fields. It lists
faults, each followed by its options; a fault belongs to one stage.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Stage = Literal["submit", "poll", "cdn", "logs", "generation"]
ErrorShape = Literal["object", "face", "string", "null", "unknown"]

HTTP_STATUSES = ("401", "403", "404", "429", "500", "502", "503", "504", "524")
HTTP_KINDS = (*HTTP_STATUSES, "drop", "hang", "slow", "malformed", "empty")
RECEIPT_KINDS = ("no_id", "generation_id", "no_meta", "tokens_used", "no_usd")
PENDING_KINDS = ("word", "old_words")
FINISHED_KINDS = (
    "array",
    "no_size",
    "no_video",
    "dummy_error",
    "succeeded",
    "url_list",
    "url_text",
    "odd_success",
    "filtered",
    "cancelled",
)
CDN_KINDS = ("truncated", "expired", "html", "garbage", "huge", "reset")
MAYBE_BOUGHT = ("500", "502", "503", "504", "524", "drop", "hang")

KINDS: dict[str, tuple[str, ...]] = {
    "submit": ("400", *HTTP_KINDS, "card", "moderation", *RECEIPT_KINDS),
    "poll": (*HTTP_KINDS, *PENDING_KINDS, *FINISHED_KINDS),
    "cdn": (*HTTP_KINDS, *CDN_KINDS),
    "logs": HTTP_KINDS,
    "error": get_args(ErrorShape),
}
OPTIONS = {
    "times": "how often; without it, always",
    "retry_after": "seconds, sent as the Retry-After header",
    "seconds": "how long hang and slow take, in real seconds",
    "bytes": "how large huge is",
    "bought": "yes or no: whether the generation is accepted although the reply does not say so",
    "envelope": "2026 or 2025: the form of error bodies",
    "word": "the status word that poll=word answers",
}
FIELDS = {"bytes": "size_bytes", "envelope": "old_envelope"}  # the other options have the name of their field
MEANINGS = {"bought": {"yes": True, "no": False}, "envelope": {"2026": False, "2025": True}}

DIRECTIVE = re.compile(r"\[sandbox:([^\]]*)\]", re.IGNORECASE)


class DirectiveError(ValueError):
    """A directive that cannot be read; the message lists the valid ones."""

    def __init__(self, complaint: str) -> None:
        super().__init__(f"{complaint} {vocabulary()}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault at one stage."""

    stage: Stage
    kind: str
    times: int | None = None
    retry_after: str | None = None
    seconds: float | None = None
    size_bytes: int = 1_000_000_000
    bought: bool | None = None
    old_envelope: bool = False
    word: str = "rendering_v2"

    @property
    def buys(self) -> bool:
        """Whether a submit with this fault is accepted, and so paid for."""
        if self.bought is not None:
            return self.bought
        return self.kind in ("drop", "hang", "slow", "malformed", "empty", *RECEIPT_KINDS)


def faults_in(prompt: str) -> tuple[Fault, ...]:
    """Read the faults of a prompt's directives; most prompts have none."""
    if "[sandbox:" not in prompt.lower():
        return ()
    return tuple(fault for found in DIRECTIVE.finditer(prompt) for fault in read(split(found[1])))


def split(directive: str) -> Iterator[tuple[str, str]]:
    """Split `submit=429 stuck` into pairs; a bare word has an empty value."""
    for token in directive.replace(",", " ").split():
        word, _, value = token.partition("=")
        yield word.lower(), value


def read(words: Iterable[tuple[str, str]]) -> Iterator[Fault]:
    """Read faults, each with the options that follow it."""
    current: Fault | None = None
    for word, value in words:
        if word in OPTIONS:
            if current is None:
                raise DirectiveError(f"The option '{word}' must follow what it belongs to.")
            current = with_option(current, word, value)
            continue
        if current is not None:
            yield current
        current = fault_named(word, value)
    if current is None:
        raise DirectiveError("The directive is empty.")
    yield current


def fault_named(word: str, value: str) -> Fault:
    """Return the fault that `word=value` names, without options."""
    match word:
        case "stuck" if value.lower() in ("", "yes", "true"):
            return Fault("generation", "stuck")
        case "latency":
            return Fault("generation", "latency", seconds=at_least_zero(word, value))
        case "error":
            return Fault("generation", "error", word=known(word, value or "object"))
        case "submit" | "poll" | "cdn" | "logs":
            return Fault(word, known(word, value))
    raise DirectiveError(f"Unknown directive '{word}'.")


def with_option(fault: Fault, option: str, value: str) -> Fault:
    """Set one option of a fault."""
    if not takes(fault, option):
        raise DirectiveError(f"The option '{option}' does not belong to '{fault.stage}={fault.kind}'.")
    changed: dict[str, Any] = {FIELDS.get(option, option): meaning(option, value)}
    return replace(fault, **changed)


def meaning(option: str, value: str) -> object:
    """Parse an option's value."""
    match option:
        case "times" | "bytes":
            return int(at_least_zero(option, value))
        case "seconds":
            return at_least_zero(option, value)
        case "bought" | "envelope":
            return one_of(option, value)
        case _:
            return sendable(option, value)


def sendable(option: str, value: str) -> str:
    """Return the text if it is valid in a header."""
    if not (value and value.isascii() and value.isprintable()):
        raise DirectiveError(f"'{option}' is plain text, not '{value}'.")
    return value


def takes(fault: Fault, option: str) -> bool:
    """Whether this fault has the option."""
    match option:
        case "bought":
            return fault.stage == "submit" and fault.kind in MAYBE_BOUGHT
        case "word":
            return fault.kind == "word"
        case "bytes":
            return fault.kind == "huge"
        case "retry_after" | "envelope":
            return fault.kind in ("400", "card", "moderation", *HTTP_STATUSES)
        case "seconds":
            return fault.kind in ("hang", "slow")
        case _:
            return True


def known(word: str, value: str) -> str:
    """Return the kind in lower case; reject one that the stage does not have."""
    kind = value.lower()
    if kind not in KINDS[word]:
        raise DirectiveError(f"Unknown kind '{value}' for '{word}'.")
    return kind


def one_of(option: str, value: str) -> bool:
    """Parse the value of an option with two choices."""
    meanings = MEANINGS[option]
    if value.lower() not in meanings:
        raise DirectiveError(f"The option '{option}' is one of {', '.join(meanings)}.")
    return meanings[value.lower()]


def at_least_zero(option: str, value: str) -> float:
    """Parse a number that is not negative."""
    if not re.fullmatch(r"\d{1,12}(\.\d{1,6})?", value):
        raise DirectiveError(f"'{option}' is a number, not '{value}'.")
    return float(value)


def vocabulary() -> str:
    """List every valid directive and option."""
    subjects = "; ".join(f"{word}={'|'.join(kinds)}" for word, kinds in KINDS.items())
    return f"Directives: {subjects}; stuck; latency=<seconds>. Options: {', '.join(OPTIONS)}."
