"""The sentences that say what an action costs, the same on the command line and on the page."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.job import Charged, Job, VideoRequest
from jobs.moves.request import Retry, on_retry
from jobs.states import State
from producer.counted import counted
from producer.models.catalogue import defaults_of
from producer.service import Cancelled, Service


def cancel_costs(job: Job, *, keeps: bool) -> str:
    """Say what a cancel of an unfinished job saves; `keeps`: the video of a cancelled job is fetched."""
    if job.state is State.QUEUED:
        unsure = "whether its earlier purchase happened is not known, and nothing more is bought."
        return f"{job.id} waits to be bought: {unsure if job.doubts else 'cancelling it is free.'}"
    rest = "its video is fetched all the same" if keeps else "its video is not fetched"
    return f"{job.id} {_bought(job)}; the upstream refunds nothing, and {rest}."


@dataclass(slots=True)
class CancelCosts:
    """What a cancel of many unfinished jobs saves: how many are not bought, may be, and are, and for how much."""

    free: int = 0
    unsure: int = 0
    bought: int = 0
    unpriced: int = 0
    usd: float = 0.0

    def add(self, job: Job) -> None:
        """Count a job by where it stands."""
        if job.state in {State.RENDERING, State.STORING}:
            self.bought += 1
            self.unpriced += job.cost_usd is None
            self.usd += job.cost_usd or 0.0
        elif job.state is State.QUEUED and not job.doubts:
            self.free += 1
        else:
            self.unsure += 1

    def sentence(self, *, keeps: bool) -> str:
        """Say it; `keeps`: the videos of cancelled jobs are fetched."""
        rest = "their videos are fetched all the same" if keeps else "their videos are not fetched"
        unpriced = f" ({self.unpriced:,} of unknown price)" if self.unpriced else ""
        bought = f"for {self.usd:,.2f} USD{unpriced}; the upstream refunds nothing, and {rest}."
        parts = (
            (self.free, f"{counted(self.free, 'job', 'jobs')} not bought yet: cancelling is free."),
            (self.unsure, f"{counted(self.unsure, 'job', 'jobs')} that may already be bought."),
            (self.bought, f"{counted(self.bought, 'job', 'jobs')} already bought, {bought}"),
        )
        return " ".join(text for count, text in parts if count) or "No unfinished job fits."


def retry_costs(job: Job) -> str:
    """Say what a retry of an ended job without a video costs."""
    if on_retry(job, pay_again=False) is Retry.GO_ON:
        return f"{job.id} was bought and may still be fetched: a retry goes on with its generation and costs nothing."
    return f"{job.id} has no generation left to fetch: a retry buys another one{_before(job)}."


def erase_costs(job: Job) -> str:
    """Say what erasing an ended job deletes."""
    return f"{job.id} loses its prompt, pictures, job log and files for good. What it cost is kept."


def _before(job: Job) -> str:
    if job.charged is not Charged.NO:
        return f"; the first one was {price(job)}"
    about = "" if job.cost_usd is None else f", for about {price(job)}"
    return f"{about}; the first cost nothing"


@dataclass(frozen=True, slots=True)
class Prices:
    """What requests will probably cost: the newest purchase of the same model, resolution and sound, by its length."""

    newest: Mapping[tuple[str, ...], tuple[float, float | None]]
    """The price in dollars and the length in seconds."""

    @classmethod
    def of(cls, purchases: Iterable[tuple[float, VideoRequest]]) -> "Prices":
        """Learn from purchases and what they cost, newest first."""
        found: dict[tuple[str, ...], tuple[float, float | None]] = {}
        for usd, request in purchases:
            if usd:
                found.setdefault(_sort(request), (usd, _length_s(request)))
        return cls(found)

    @classmethod
    def lately(cls, service: Service, tenant: str | None = None) -> "Prices":
        """Learn from the newest purchases, of one tenant or of all."""
        return cls.of(service.purchases(tenant=tenant))

    def estimate(self, request: VideoRequest) -> float | None:
        """Return dollars; None if nothing like it was bought."""
        usd, length_s = self.newest.get(_sort(request), (None, None))
        wanted_s = _length_s(request)
        return usd if usd is None or not length_s or not wanted_s else usd * wanted_s / length_s


def estimated(prices: Prices, requests: Sequence[VideoRequest]) -> str:
    """Say what requests will probably cost together."""
    known = [usd for usd in map(prices.estimate, requests) if usd is not None]
    unknown = len(requests) - len(known)
    if not known:
        return "The price is not known before the first one like it is bought."
    about = f"About {sum(known):.2f} USD, as the newest purchases like {'it' if len(requests) == 1 else 'them'} cost"
    return f"{about}; the price of {unknown} more is not known." if unknown else f"{about}."


def _sort(request: VideoRequest) -> tuple[str, ...]:
    return (request.model, *(str(_asked(request, name)).lower() for name in ("resolution", "generate_audio")))


def _length_s(request: VideoRequest) -> float | None:
    try:
        length_s = float(_asked(request, "duration"))
    except (TypeError, ValueError, OverflowError):
        return None
    return length_s if math.isfinite(length_s) and length_s > 0 else None


def _asked(request: VideoRequest, name: str) -> Any:
    """Return a parameter's value, or the model's default; None if it is no text or number."""
    value = request.parameters.get(name)
    found = defaults_of(request.model).get(name) if value is None else value
    return found if isinstance(found, str | int | float) else None


def _bought(job: Job) -> str:
    if job.state in {State.SUBMITTING, State.IN_DOUBT}:
        return "may already be bought"
    return f"is already bought, at {price(job)}"


def price(job: Job) -> str:
    """Name the price, if it is known."""
    return "an unknown price" if job.cost_usd is None else f"{job.cost_usd:.2f} USD"


def cancelled(answer: Cancelled) -> str:
    """Say what a cancel has done."""
    job = answer.job
    if answer.move is None:
        return f"{job.id} is already {job.state}; there is nothing to cancel."
    if answer.is_pending:
        return f"{job.id} is being bought now. It is cancelled as soon as the outcome is known."
    if job.charged is Charged.NO:
        return f"{job.id} is cancelled. Nothing was bought."
    if job.charged is Charged.UNKNOWN:
        return f"{job.id} is cancelled. Whether its earlier purchase happened is not known."
    return f"{job.id} is cancelled, but was already bought, at {price(job)}; the upstream refunds nothing."


def cancelled_many(answers: Sequence[Cancelled], *, chosen: int) -> str:
    """Say what a cancel of many jobs has done, in numbers."""
    pending = sum(answer.is_pending for answer in answers)
    charged = Counter(answer.job.charged for answer in answers if not answer.is_pending)
    parts = (
        (charged[Charged.NO], "cancelled, not bought"),
        (charged[Charged.YES], "cancelled, but bought: the upstream refunds nothing"),
        (charged[Charged.UNKNOWN], "cancelled; whether they were bought is not known"),
        (pending, "being bought now, or in doubt, and cancelled as soon as the outcome is known"),
        (chosen - len(answers), "not cancelled, as they were bought or ended meanwhile"),
    )
    return ". ".join(f"{counted(count, 'job', 'jobs')} {what}" for count, what in parts if count) + "."
