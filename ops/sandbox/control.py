"""The control endpoints: schedule faults, read counters, reset. For development machines only."""

import json
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ops.sandbox.counters import Counters
from ops.sandbox.envelopes import Json
from ops.sandbox.fault import OPTIONS, Fault, read
from ops.sandbox.fault_schedule import FaultSchedule, Match, ScheduledFault
from ops.sandbox.state import SandboxState


class BadFaultError(Exception):
    """The JSON describes no known fault; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Control:
    """Controls the sandbox over HTTP. It asks for no key: anybody who reaches the port may use it."""

    state: SandboxState
    fault_schedule: FaultSchedule
    counters: Counters

    async def add_fault(self, request: Request) -> Response:
        """Schedule a fault for all matching requests, or for the next `times`."""
        try:
            terms = json.loads(await request.body())
            fault, match = read_fault(terms)
        except (ValueError, BadFaultError) as error:
            return Json({"error": str(error)}, 400)
        return Json(as_json(self.fault_schedule.add(fault, match, terms)), 201)

    async def list_faults(self, _request: Request) -> Response:
        """List the scheduled faults, with how often each was used and is left."""
        return Json({"data": [as_json(one) for one in self.fault_schedule.scheduled]})

    async def clear_faults(self, request: Request) -> Response:
        """Remove all scheduled faults, or the one with this `id`."""
        given = request.query_params.get("id")
        if given is not None and not given.isdecimal():
            return Json({"error": f"id is a number, not '{given}'"}, 400)
        return Json({"cleared": self.fault_schedule.clear(int(given) if given else None)})

    async def purchases(self, _request: Request) -> Response:
        """Count purchases, by client request id and by model."""
        return Json(self.state.purchases())

    async def requests(self, _request: Request) -> Response:
        """Count requests by kind and replies by status."""
        return Json(self.counters.report())

    async def reset(self, _request: Request) -> Response:
        """Delete generations, faults and counters; ids start again from the seed."""
        self.state.reset()
        self.fault_schedule.reset()
        self.counters.reset()
        return Json({"status": "reset"})

    async def health(self, _request: Request) -> Response:
        """Answer that the sandbox runs."""
        return Json({"status": "ok", "generations": len(self.state.generations)})


def read_fault(terms: object) -> tuple[Fault, Match]:
    """Read one fault and which requests it matches; the fields are those of a directive."""
    if not isinstance(terms, dict):
        raise BadFaultError('Send an object such as {"submit": 429, "times": 1}.')
    match = read_match(terms.get("match", {}))
    pairs = [(str(word).lower(), as_text(value)) for word, value in terms.items() if word != "match"]
    found = list(
        read(sorted(pairs, key=lambda pair: pair[0] in OPTIONS))
    )  # options after the fault; JSON objects are unordered
    if len(found) > 1:
        raise BadFaultError("One fault at a time: send several requests.")
    return found[0], match


def read_match(fields: object) -> Match:
    """Read which requests a fault matches."""
    known = Match.__slots__
    if not isinstance(fields, dict) or set(fields) - set(known):
        raise BadFaultError(f"match is an object with any of these fields: {', '.join(known)}.")
    return Match(**{name: str(value) for name, value in fields.items()})


def as_text(value: object) -> str:
    """Write a JSON value as a directive does."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def as_json(scheduled: ScheduledFault) -> dict[str, object]:
    """Serialize a scheduled fault."""
    return {"id": scheduled.id, **scheduled.terms, "left": scheduled.left, "served": scheduled.served}
