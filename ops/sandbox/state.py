"""The sandbox's state: every bought generation, the account's charges and the log's rows."""

import bisect
import heapq
import time
from collections import Counter, defaultdict
from dataclasses import dataclass

from ops.sandbox.catalogue import CREDITS_PER_USD, usd
from ops.sandbox.fault import Fault
from ops.sandbox.generation import STUCK, Generation
from ops.sandbox.generation_file import GenerationFile
from ops.sandbox.random_source import RandomSource
from ops.sandbox.settings import SandboxSettings
from ops.sandbox.video_request import VideoRequest


def now_ms() -> int:
    """Return wall-clock milliseconds, which also pass while the sandbox is down."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Charge:
    """One debit, booked when its generation completed."""

    at_ms: int
    number: int


class SandboxState:
    """Stores generations and books their charges."""

    def __init__(self, settings: SandboxSettings, generation_file: GenerationFile | None) -> None:
        self.settings = settings
        self.generation_file = generation_file
        self.random_source = RandomSource(settings)
        self.clear()
        for generation in generation_file.replay() if generation_file else ():
            self.admit(generation)

    def clear(self) -> None:
        """Empty the state in memory, but not the file."""
        self.generations: list[Generation] = []
        self.by_id: dict[str, Generation] = {}
        self.charges: list[Charge] = []
        self.charged_credits = 0
        self.unsettled: list[tuple[int, int]] = []
        self.unlogged: list[tuple[int, int]] = []
        self.logged: list[int] = []
        self.logged_of: defaultdict[str, list[int]] = defaultdict(list)

    def reset(self) -> None:
        """Delete everything, in memory and on disk."""
        self.clear()
        if self.generation_file:
            self.generation_file.clear()

    def accept(
        self,
        request: VideoRequest,
        *,
        client_request_id: str | None,
        google_path: bool,
        faults: tuple[Fault, ...],
        scheduled: tuple[Fault, ...],
    ) -> Generation:
        """Buy a generation, and write it to the file before the reply.

        `faults` are the prompt's and stay with the generation; `scheduled` come from the control endpoint.
        """
        number = len(self.generations)
        draw = self.random_source.draw(number, request.shape.model)
        accepted_ms = now_ms()
        latency_s, outcome = outcome_of(draw.latency_s, (*faults, *scheduled))
        generation = Generation(
            number=number,
            id=draw.id,
            shape=request.shape,
            prompt=request.prompt,
            seed=draw.seed if request.seed is None else request.seed,
            client_request_id=client_request_id,
            google_path=google_path,
            accepted_ms=accepted_ms,
            ready_ms=accepted_ms + round(1000 * latency_s / self.settings.time_scale),
            outcome=outcome,
            faults=faults,
        )
        if self.generation_file:
            self.generation_file.write(generation)
        self.admit(generation)
        return generation

    def admit(self, generation: Generation) -> None:
        """Add a generation to every index."""
        self.generations.append(generation)
        self.by_id[generation.id] = generation
        if not generation.ends:
            return
        heapq.heappush(self.unsettled, (generation.ready_ms, generation.number))
        heapq.heappush(self.unlogged, (self.logged_ms(generation), generation.number))

    def logged_ms(self, generation: Generation) -> int:
        """Return when its row appears in the request log."""
        since = generation.ready_ms if self.settings.log_after == "completion" else generation.accepted_ms
        return since + round(1000 * self.settings.log_delay_s / self.settings.time_scale)

    def settle(self) -> None:
        """Book the debits and the log rows that are due."""
        now = now_ms()
        while self.unsettled and self.unsettled[0][0] <= now:
            at_ms, number = heapq.heappop(self.unsettled)
            if cost := self.generations[number].charged_credits:
                self.charges.append(Charge(at_ms, number))
                self.charged_credits += cost
        while self.unlogged and self.unlogged[0][0] <= now:
            _, number = heapq.heappop(self.unlogged)
            bisect.insort(self.logged, number)
            bisect.insort(self.logged_of[self.generations[number].shape.model], number)

    @property
    def balance_credits(self) -> int:
        """The account's balance, in credits."""
        self.settle()
        return round(self.settings.balance_usd * CREDITS_PER_USD) - self.charged_credits

    def log_rows(self, models: list[str], *, from_ms: int, to_ms: int) -> list[int]:
        """Return the numbers of the logged generations of these models (empty: all) in a time range, oldest first."""
        self.settle()
        rows = self.rows_of(models) if models else self.logged
        begin = bisect.bisect_left(rows, from_ms, key=self.accepted_ms)
        return rows[begin : bisect.bisect_right(rows, to_ms, key=self.accepted_ms)]

    def rows_of(self, names: list[str]) -> list[int]:
        """Return the log's rows of these models, each named in full (`google/veo3`) or short (`veo3`)."""
        per_model = [rows for model, rows in self.logged_of.items() if {model, model.partition("/")[2]} & set(names)]
        return per_model[0] if len(per_model) == 1 else sorted(number for rows in per_model for number in rows)

    def accepted_ms(self, number: int) -> int:
        """Return when that generation was accepted."""
        return self.generations[number].accepted_ms

    def purchases(self) -> dict[str, object]:
        """Count all purchases."""
        self.settle()
        named = Counter(g.client_request_id for g in self.generations if g.client_request_id)
        return {
            "total": len(self.generations),
            "by_client_request_id": dict(named),
            "without_client_request_id": len(self.generations) - named.total(),
            "bought_twice": {name: count for name, count in named.items() if count > 1},
            "by_model": dict(Counter(g.shape.model for g in self.generations)),
            "usd": usd(sum(g.shape.credits for g in self.generations)),
            "usd_charged": usd(self.charged_credits),
        }


def outcome_of(latency_s: float, faults: tuple[Fault, ...]) -> tuple[float, str | None]:
    """Apply a generation's faults to its latency and outcome."""
    outcome: str | None = None
    for fault in faults:
        match fault.kind if fault.stage == "generation" else "":
            case "latency":
                latency_s = fault.seconds or 0.0
            case "stuck":
                outcome = STUCK
            case "error":
                outcome = fault.word
    return latency_s, outcome
