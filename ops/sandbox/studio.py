"""The studio: every generation that was bought, by number, by id and by what it cost."""

import bisect
import heapq
import time
from collections import Counter, defaultdict
from dataclasses import dataclass

from ops.sandbox.book import Book
from ops.sandbox.catalogue import CREDITS_PER_USD, usd
from ops.sandbox.dice import Dice
from ops.sandbox.generation import STUCK, Generation
from ops.sandbox.orders import Order
from ops.sandbox.settings import SandboxSettings
from ops.sandbox.trouble import Trouble


def now_ms() -> int:
    """Wall-clock milliseconds: they go on while the sandbox is down."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Charge:
    """One debit, booked when its generation completed."""

    at_ms: int
    number: int


class Studio:
    """Accepts orders, remembers them, and keeps the account."""

    def __init__(self, settings: SandboxSettings, book: Book | None) -> None:
        self.settings = settings
        self.book = book
        self.dice = Dice(settings)
        self.forget()
        for generation in book.replay() if book else ():
            self.admit(generation)

    def forget(self) -> None:
        """Empty every shelf; the book is left alone."""
        self.generations: list[Generation] = []
        self.by_id: dict[str, Generation] = {}
        self.charges: list[Charge] = []
        self.charged_credits = 0
        self.unsettled: list[tuple[int, int]] = []
        self.unlogged: list[tuple[int, int]] = []
        self.logged: list[int] = []
        self.logged_of: defaultdict[str, list[int]] = defaultdict(list)

    def reset(self) -> None:
        """Start over as if nothing had ever been bought."""
        self.forget()
        if self.book:
            self.book.clear()

    def accept(
        self,
        order: Order,
        *,
        client_request_id: str | None,
        google_path: bool,
        troubles: tuple[Trouble, ...],
        inflicted: tuple[Trouble, ...],
    ) -> Generation:
        """Buy a generation; written to the book before anyone hears of it.

        `troubles` came with the prompt and stay with the generation; `inflicted` ones came from the control endpoint.
        """
        number = len(self.generations)
        hand = self.dice.hand(number, order.shape.model)
        accepted_ms = now_ms()
        latency_s, fate = destiny(hand.latency_s, (*troubles, *inflicted))
        generation = Generation(
            number=number,
            id=hand.id,
            shape=order.shape,
            prompt=order.prompt,
            seed=hand.seed if order.seed is None else order.seed,
            client_request_id=client_request_id,
            google_path=google_path,
            accepted_ms=accepted_ms,
            ready_ms=accepted_ms + round(1000 * latency_s / self.settings.time_scale),
            fate=fate,
            troubles=troubles,
        )
        if self.book:
            self.book.write(generation)
        self.admit(generation)
        return generation

    def admit(self, generation: Generation) -> None:
        """Put a generation on every shelf."""
        self.generations.append(generation)
        self.by_id[generation.id] = generation
        if not generation.ends:
            return
        heapq.heappush(self.unsettled, (generation.ready_ms, generation.number))
        heapq.heappush(self.unlogged, (self.logged_ms(generation), generation.number))

    def logged_ms(self, generation: Generation) -> int:
        """When its row shows up in the request log."""
        since = generation.ready_ms if self.settings.log_after == "completion" else generation.accepted_ms
        return since + round(1000 * self.settings.log_delay_s / self.settings.time_scale)

    def settle(self) -> None:
        """Book the debits and the log rows that have fallen due."""
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
        """What is left on the account."""
        self.settle()
        return round(self.settings.balance_usd * CREDITS_PER_USD) - self.charged_credits

    def log_rows(self, models: list[str], *, from_ms: int, to_ms: int) -> list[int]:
        """Numbers of the generations in the log, oldest first, of these models (all, if none) and that time."""
        self.settle()
        rows = self.rows_of(models) if models else self.logged
        begin = bisect.bisect_left(rows, from_ms, key=self.accepted_ms)
        return rows[begin : bisect.bisect_right(rows, to_ms, key=self.accepted_ms)]

    def rows_of(self, names: list[str]) -> list[int]:
        """The log's rows of these models, each named in full (`google/veo3`) or barely (`veo3`)."""
        shelves = [rows for model, rows in self.logged_of.items() if {model, model.partition("/")[2]} & set(names)]
        return shelves[0] if len(shelves) == 1 else sorted(number for rows in shelves for number in rows)

    def accepted_ms(self, number: int) -> int:
        """When that generation was accepted."""
        return self.generations[number].accepted_ms

    def purchases(self) -> dict[str, object]:
        """Everything that was bought, counted."""
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


def destiny(latency_s: float, troubles: tuple[Trouble, ...]) -> tuple[float, str | None]:
    """How long a generation takes and how it ends, once its troubles have had their say."""
    fate: str | None = None
    for trouble in troubles:
        match trouble.kind if trouble.stage == "generation" else "":
            case "latency":
                latency_s = trouble.seconds or 0.0
            case "stuck":
                fate = STUCK
            case "error":
                fate = trouble.word
    return latency_s, fate
