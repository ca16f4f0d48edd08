"""The control endpoints: trouble to order, the books to read, a clean start. For development machines only."""

import json
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ops.sandbox.envelopes import Json
from ops.sandbox.studio import Studio
from ops.sandbox.tally import Tally
from ops.sandbox.trouble import OPTIONS, Trouble, read
from ops.sandbox.troublemaker import Match, Standing, Troublemaker


class BadOrderError(Exception):
    """The JSON asks for no trouble that there is; its message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Control:
    """Steers the sandbox from outside. It asks for no key: anybody who reaches the port may use it."""

    studio: Studio
    troublemaker: Troublemaker
    tally: Tally

    async def add_trouble(self, request: Request) -> Response:
        """Let trouble befall all, or the next `times`, requests that match."""
        try:
            words = json.loads(await request.body())
            trouble, match = read_trouble(words)
        except ValueError as wrong:
            return Json({"error": str(wrong)}, 400)
        except BadOrderError as wrong:
            return Json({"error": str(wrong)}, 400)
        return Json(shown(self.troublemaker.order(trouble, match, words)), 201)

    async def list_trouble(self, _request: Request) -> Response:
        """Standing troubles, with how often each was met and how often it still will be."""
        return Json({"data": [shown(one) for one in self.troublemaker.standing]})

    async def clear_trouble(self, request: Request) -> Response:
        """Withdraw all standing troubles, or the one named by `id`."""
        given = request.query_params.get("id")
        if given is not None and not given.isdecimal():
            return Json({"error": f"id is a number, not '{given}'"}, 400)
        return Json({"cleared": self.troublemaker.clear(int(given) if given else None)})

    async def purchases(self, _request: Request) -> Response:
        """What was bought, by client request id and by model."""
        return Json(self.studio.purchases())

    async def requests(self, _request: Request) -> Response:
        """What was asked, by kind and by status."""
        return Json(self.tally.report())

    async def reset(self, _request: Request) -> Response:
        """Forget generations, troubles and counters; ids begin anew from the seed."""
        self.studio.reset()
        self.troublemaker.forget()
        self.tally.forget()
        return Json({"status": "reset"})

    async def health(self, _request: Request) -> Response:
        """Whether it is there at all."""
        return Json({"status": "ok", "generations": len(self.studio.generations)})


def read_trouble(words: object) -> tuple[Trouble, Match]:
    """One trouble and whom it befalls, from JSON with a directive's words."""
    if not isinstance(words, dict):
        raise BadOrderError('Send an object such as {"submit": 429, "times": 1}.')
    match = read_match(words.get("match", {}))
    pairs = [(str(word).lower(), as_text(value)) for word, value in words.items() if word != "match"]
    found = list(read(sorted(pairs, key=lambda pair: pair[0] in OPTIONS)))  # JSON's order says nothing
    if len(found) > 1:
        raise BadOrderError("One trouble at a time: send several requests.")
    return found[0], match


def read_match(words: object) -> Match:
    """Whom a trouble befalls."""
    known = Match.__slots__
    if not isinstance(words, dict) or set(words) - set(known):
        raise BadOrderError(f"match is an object that may hold {', '.join(known)}.")
    return Match(**{name: str(value) for name, value in words.items()})


def as_text(value: object) -> str:
    """A JSON value as a directive would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def shown(standing: Standing) -> dict[str, object]:
    """A standing trouble as JSON."""
    return {"id": standing.id, **standing.words, "left": standing.left, "served": standing.served}
