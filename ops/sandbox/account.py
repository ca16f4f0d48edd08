"""The account's endpoints: the request log, the balance and the transactions."""

import asyncio
import base64
import binascii
import re
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from ops.sandbox.authentication import Authenticator
from ops.sandbox.catalogue import usd
from ops.sandbox.counters import Counters
from ops.sandbox.envelopes import Json, problem, timestamp
from ops.sandbox.fault_replies import MESSAGES, corrupted, hang, refusal
from ops.sandbox.fault_schedule import FaultSchedule
from ops.sandbox.generation import Generation
from ops.sandbox.state import Charge, SandboxState, now_ms
from ops.sandbox.video_request import Complaint

LARGEST_PAGE = 100
DEFAULT_PAGE = 50
LONGEST_WINDOW = timedelta(days=92)
DEFAULT_WINDOW = timedelta(hours=24)
READS_PER_WINDOW = 200
READ_WINDOW_S = 60.0
BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)
STATUSES = ("succeeded", "failed")


class BadQueryError(Exception):
    """A query parameter is invalid; the caller answers 400."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.complaint: Complaint = {"code": "custom", "path": [parameter], "message": message}


@dataclass(slots=True)
class Account:
    """Serves the request log and the money spent."""

    state: SandboxState
    authenticator: Authenticator
    fault_schedule: FaultSchedule
    counters: Counters
    reads: deque[float] = field(default_factory=deque)

    async def logs(self, request: Request) -> Response:
        """Return one row per generation, newest first; rows appear late, as in the real service."""
        self.counters.log_reads += 1
        if refused := self.authenticator.refuse(request.scope):
            return refused
        if not self.may_read():
            return problem(request.scope, 429, MESSAGES[429])
        fault = self.fault_schedule.logs()
        if fault and (instead := refusal(request.scope, fault)):
            return instead
        if fault and fault.kind == "hang":
            await hang(fault)
        try:
            page = self.log_page(request)
        except BadQueryError as bad:
            return problem(request.scope, 400, MESSAGES[400], data=[bad.complaint])
        return corrupted(Json(page), fault) if fault else Json(page)

    def may_read(self) -> bool:
        """Apply the log's rate limit: 200 reads in 60 s of upstream time."""
        now = asyncio.get_running_loop().time()
        while self.reads and self.reads[0] <= now - READ_WINDOW_S / self.state.settings.time_scale:
            self.reads.popleft()
        if len(self.reads) >= READS_PER_WINDOW:
            return False
        self.reads.append(now)
        return True

    def log_page(self, request: Request) -> dict[str, object]:
        """Return the rows that match a query."""
        limit, offset = page_of(request)
        begin, end = window_of(request)
        wanted = request.query_params.getlist("status")
        if set(wanted) - set(STATUSES):
            raise BadQueryError("status", f"status is one of {', '.join(STATUSES)}")
        rows = self.state.log_rows(
            request.query_params.getlist("model"), from_ms=milliseconds(begin), to_ms=milliseconds(end)
        )
        if wanted:
            rows = [number for number in rows if log_status(self.state.generations[number]) in wanted]
        newest_first = rows[len(rows) - 1 - offset :: -1][:limit] if offset < len(rows) else []
        return {
            "data": [log_row(self.state.generations[number]) for number in newest_first],
            "pagination": {
                "limit": limit,
                "offset": offset,
                "total": len(rows),
                "has_more": offset + len(newest_first) < len(rows),
            },
        }

    async def balance(self, request: Request) -> Response:
        """Return the balance."""
        if refused := self.authenticator.refuse(request.scope):
            return refused
        return Json({"current_balance": usd(self.state.balance_credits), "currency": "USD"})

    async def transactions(self, request: Request) -> Response:
        """Return one entry per debit, newest first, with a cursor."""
        if refused := self.authenticator.refuse(request.scope):
            return refused
        self.state.settle()
        try:
            return Json(self.transactions_page(request))
        except BadQueryError as bad:
            return problem(request.scope, 400, MESSAGES[400], data=[bad.complaint])

    def transactions_page(self, request: Request) -> dict[str, object]:
        """Return the entries that match a query."""
        limit, _ = page_of(request)
        begin, end = moment(request, "from", BEGINNING), moment(request, "to", END)
        newest_first = [
            place
            for place in range(position(request, len(self.state.charges)) - 1, -1, -1)
            if milliseconds(begin) <= self.state.charges[place].at_ms < milliseconds(end)
        ]
        shown = newest_first[:limit]
        more = len(newest_first) > limit
        return {
            "data": [self.entry(self.state.charges[place]) for place in shown],
            "pagination": {"next_cursor": cursor(shown[-1]) if more else None, "has_more": more},
        }

    def entry(self, charge: Charge) -> dict[str, object]:
        """Format one debit."""
        generation = self.state.generations[charge.number]
        cost = generation.charged_credits
        return {
            "created_at": timestamp(charge.at_ms),
            "direction": "CHARGE",
            "type": "MODEL_USAGE",
            "amount": {"usd": usd(cost), "credits": cost},
            "model": generation.shape.model,
            "reference_id": generation.id,
        }


def log_status(generation: Generation) -> str:
    """Return one of the log's two statuses; a generation that still runs counts as succeeded."""
    failed = generation.outcome is not None and generation.ends and now_ms() >= generation.ready_ms
    return "failed" if failed else "succeeded"


def log_row(generation: Generation) -> dict[str, object]:
    """Format one row of the request log."""
    cost = generation.charged_credits
    return {
        "created": timestamp(generation.accepted_ms),
        "status": log_status(generation),
        "origin": "api",
        "model": generation.shape.model,
        "cost": {"usd": usd(cost), "credits": cost},
        "tokens": {"input": 0, "output": 0, "total": 0},
        "request_id": f"req-{generation.number + 1}",
        "inference_id": generation.id,
        "client_request_id": generation.client_request_id,
    }


def page_of(request: Request) -> tuple[int, int]:
    """Read `limit` and `offset`."""
    limit = whole_number(request, "limit", DEFAULT_PAGE)
    if not 1 <= limit <= LARGEST_PAGE:
        raise BadQueryError("limit", f"limit is between 1 and {LARGEST_PAGE}")
    return limit, whole_number(request, "offset", 0)


def whole_number(request: Request, name: str, otherwise: int) -> int:
    """Read a query parameter that is a whole number."""
    given = request.query_params.get(name, str(otherwise))
    if not re.fullmatch(r"\d{1,9}", given):
        raise BadQueryError(name, f"{name} is a whole number, not '{given}'")
    return int(given)


def window_of(request: Request) -> tuple[datetime, datetime]:
    """Read the time window: `period`, or `start` with `end`; 24 hours by default."""
    period, bounds = request.query_params.get("period"), {"start", "end"} & set(request.query_params)
    now = datetime.now(UTC)
    if bounds and (period or len(bounds) == 1):
        raise BadQueryError("period", "Provide either period or both start and end, never both")
    begin, end = (moment(request, "start", now), moment(request, "end", now)) if bounds else (now - span(period), now)
    if not timedelta(0) <= end - begin <= LONGEST_WINDOW:
        raise BadQueryError(
            "end", f"The window is at most {LONGEST_WINDOW.days} days, and its end is not before its start"
        )
    return begin, end


def span(period: str | None) -> timedelta:
    """Parse `24h` or `7d`."""
    if period is None:
        return DEFAULT_WINDOW
    found = re.fullmatch(r"([1-9]\d{0,4})([hd])", period)
    if not found:
        raise BadQueryError("period", f"period is a number followed by h or d, not '{period}'")
    return timedelta(hours=int(found[1])) if found[2] == "h" else timedelta(days=int(found[1]))


def moment(request: Request, name: str, otherwise: datetime) -> datetime:
    """Read a query parameter that is a time; one without an offset is in UTC."""
    given = request.query_params.get(name)
    try:
        read = datetime.fromisoformat(given) if given else otherwise
    except ValueError:
        raise BadQueryError(name, f"{name} is an ISO 8601 time, not '{given}'") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def milliseconds(at: datetime) -> int:
    """Convert a time to milliseconds since 1970."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def cursor(place: int) -> str:
    """Encode the position of the next page."""
    return base64.urlsafe_b64encode(f"before:{place}".encode()).decode()


def position(request: Request, otherwise: int) -> int:
    """Decode the position in the `cursor` parameter."""
    given = request.query_params.get("cursor")
    if given is None:
        return otherwise
    try:
        return min(otherwise, int(base64.urlsafe_b64decode(given).removeprefix(b"before:")))
    except (ValueError, binascii.Error):
        raise BadQueryError("cursor", "cursor must be copied unchanged from the previous reply") from None
