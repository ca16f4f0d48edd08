"""Trouble: which kinds there are, and how a directive asks for one.

A directive stands in a prompt, `[sandbox: submit=429 retry_after=2 times=1]`, or is posted as JSON with the same
words. It is a list of subjects, each followed by its options; a subject is one trouble at one stage.
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
    "bought": "yes or no: was the generation accepted although the reply says nothing of it",
    "envelope": "2026 or 2025: the form of error bodies",
    "word": "the status word that poll=word says",
}
FIELDS = {"bytes": "size_bytes", "envelope": "old_envelope"}  # the others are called what they are
MEANINGS = {"bought": {"yes": True, "no": False}, "envelope": {"2026": False, "2025": True}}

DIRECTIVE = re.compile(r"\[sandbox:([^\]]*)\]", re.IGNORECASE)


class DirectiveError(ValueError):
    """A directive that cannot be read; its message says which exist, for the person who wrote it."""

    def __init__(self, complaint: str) -> None:
        super().__init__(f"{complaint} {vocabulary()}")


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong, at one stage."""

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
        """Whether a submit that meets this trouble is accepted, and so paid for."""
        if self.bought is not None:
            return self.bought
        return self.kind in ("drop", "hang", "slow", "malformed", "empty", *RECEIPT_KINDS)


def troubles_in(prompt: str) -> tuple[Trouble, ...]:
    """The troubles that a prompt's directives ask for; most prompts ask for none."""
    if "[sandbox:" not in prompt.lower():
        return ()
    return tuple(trouble for found in DIRECTIVE.finditer(prompt) for trouble in read(split(found[1])))


def split(directive: str) -> Iterator[tuple[str, str]]:
    """`submit=429 stuck` as pairs; a bare word's value is empty."""
    for token in directive.replace(",", " ").split():
        word, _, value = token.partition("=")
        yield word.lower(), value


def read(words: Iterable[tuple[str, str]]) -> Iterator[Trouble]:
    """Subjects with the options that follow each."""
    current: Trouble | None = None
    for word, value in words:
        if word in OPTIONS:
            if current is None:
                raise DirectiveError(f"The option '{word}' must follow what it belongs to.")
            current = with_option(current, word, value)
            continue
        if current is not None:
            yield current
        current = subject(word, value)
    if current is None:
        raise DirectiveError("The directive is empty.")
    yield current


def subject(word: str, value: str) -> Trouble:
    """The trouble that a subject names."""
    match word:
        case "stuck" if value.lower() in ("", "yes", "true"):
            return Trouble("generation", "stuck")
        case "latency":
            return Trouble("generation", "latency", seconds=at_least_zero(word, value))
        case "error":
            return Trouble("generation", "error", word=known(word, value or "object"))
        case "submit" | "poll" | "cdn" | "logs":
            return Trouble(word, known(word, value))
    raise DirectiveError(f"Unknown directive '{word}'.")


def with_option(trouble: Trouble, option: str, value: str) -> Trouble:
    """The trouble with one more of its options set."""
    if not takes(trouble, option):
        raise DirectiveError(f"The option '{option}' does not belong to '{trouble.stage}={trouble.kind}'.")
    changed: dict[str, Any] = {FIELDS.get(option, option): meaning(option, value)}
    return replace(trouble, **changed)


def meaning(option: str, value: str) -> object:
    """What an option's value stands for."""
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
    """A text that fits into a header."""
    if not (value and value.isascii() and value.isprintable()):
        raise DirectiveError(f"'{option}' is plain text, not '{value}'.")
    return value


def takes(trouble: Trouble, option: str) -> bool:
    """Whether the option means anything for this trouble."""
    match option:
        case "bought":
            return trouble.stage == "submit" and trouble.kind in MAYBE_BOUGHT
        case "word":
            return trouble.kind == "word"
        case "bytes":
            return trouble.kind == "huge"
        case "retry_after" | "envelope":
            return trouble.kind in ("400", "card", "moderation", *HTTP_STATUSES)
        case "seconds":
            return trouble.kind in ("hang", "slow")
        case _:
            return True


def known(word: str, value: str) -> str:
    """One of the subject's kinds."""
    kind = value.lower()
    if kind not in KINDS[word]:
        raise DirectiveError(f"Unknown kind '{value}' for '{word}'.")
    return kind


def one_of(option: str, value: str) -> bool:
    """What the option's value means."""
    meanings = MEANINGS[option]
    if value.lower() not in meanings:
        raise DirectiveError(f"The option '{option}' is one of {', '.join(meanings)}.")
    return meanings[value.lower()]


def at_least_zero(option: str, value: str) -> float:
    """A number that is not negative."""
    if not re.fullmatch(r"\d{1,12}(\.\d{1,6})?", value):
        raise DirectiveError(f"'{option}' is a number, not '{value}'.")
    return float(value)


def vocabulary() -> str:
    """Every word that a directive may use, in a sentence or two."""
    subjects = "; ".join(f"{word}={'|'.join(kinds)}" for word, kinds in KINDS.items())
    return f"Directives: {subjects}; stuck; latency=<seconds>. Options: {', '.join(OPTIONS)}."
