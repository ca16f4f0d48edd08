"""The status of a deployment at a glance, the same over HTTP and on the command line.

It is read from counters and the heads of indexes, so that it costs the same whatever number of jobs there is.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from config.settings import Settings
from jobs.breakers import Breaker
from jobs.errors import LedgerUnavailable
from jobs.job import ACCOUNT, Job
from jobs.outbox import ReceiverStatus
from jobs.pauses import what_of
from jobs.states import State
from producer.counted import counted
from producer.holds import Holds
from producer.receivers import Receivers
from producer.service import Service
from producer.waiting import broken, full, paused_until, waiting

SEEN_WITHIN_S: Final = 30.0
MISSED_ROUNDS: Final = 5
"""A worker gives a sign of life in each round of its rescuer. After this many missed rounds it counts as gone."""

MOST_SHOWN: Final = 20
"""The most tenants, receivers and doubts that are listed; the rest is counted."""

_MOST_DOUBTS_READ: Final = 100
_MOST_WORKERS: Final = 100
_DAY_S: Final = 86_400.0
Counts = dict[State, int]


class TenantView(TypedDict):
    """A tenant's jobs."""

    tenant: Annotated[str | None, Field(description="The tenant; null: jobs without one.", examples=["shop"])]
    states: Annotated[Counts, Field(description="Its jobs in each state that has any.", examples=[{"queued": 3}])]


class AccountView(TypedDict):
    """An account at the upstream."""

    account: Annotated[str, Field(description="Its name.", examples=["default"])]
    in_flight: Annotated[
        int, Field(description="Generations that run there, also those of jobs that have ended.", examples=[4])
    ]
    most_in_flight: Annotated[int | None, Field(description="How many may; null: any number.", examples=[20])]
    learnt: Annotated[
        int | None, Field(description="How many may, as its 429s taught; null: no 429 yet.", examples=[None])
    ]


class HoldView(TypedDict):
    """What keeps jobs waiting."""

    holds: Annotated[
        Literal["purchases", "polls"],
        Field(description="What waits: purchases, or every poll.", examples=["polls"]),
    ]
    by: Annotated[
        str, Field(description="`pause`, `limit`, or why the circuit breaker is open.", examples=["out_of_credits"])
    ]
    until: Annotated[
        float | None,
        Field(description="When the next request is tried, in epoch seconds; null: a person ends it.", examples=[None]),
    ]
    sentence: Annotated[
        str,
        Field(
            description="Why, and what ends it.",
            examples=["Buying is paused by ops: the budget is used up. `rushes queue resume` goes on."],
        ),
    ]


class QueueBacklog(TypedDict):
    """What waits in a queue of work items."""

    queue: Annotated[str, Field(description="A state, or a kind of follow-up.", examples=["rendering"])]
    items: Annotated[int, Field(description="What waits in it, due or not.", examples=[12])]
    due: Annotated[int, Field(description="How many of them are due now.", examples=[0])]
    overdue_s: Annotated[float, Field(description="For how long the oldest has been due.", examples=[0.0])]


class DoubtView(TypedDict):
    """A purchase in doubt that needs a person's decision."""

    id: Annotated[str, Field(description="The job.", examples=["job_01kb0000000000000000000000"])]
    since: Annotated[float | None, Field(description="Since when, in epoch seconds.", examples=[1795000000.0])]
    sentence: Annotated[str, Field(description="What is known.", examples=["The reply to its purchase was lost."])]
    commands: Annotated[
        list[str],
        Field(description="What to type.", examples=[["rushes resolve job_01kb0000000000000000000000 --give-up"]]),
    ]


class ReceiverBacklog(TypedDict):
    """What a receiver of ended jobs still has to get."""

    receiver: Annotated[str, Field(description="Its name.", examples=["shop:video_is_ready"])]
    waiting: Annotated[int, Field(description="Deliveries in its outbox.", examples=[3])]
    failing_since: Annotated[float | None, Field(description="Since when it fails, in epoch seconds.", examples=[None])]
    open_until: Annotated[float | None, Field(description="When it is tried again, if it is paused.", examples=[None])]


class WorkerView(TypedDict):
    """A worker process."""

    worker: Annotated[str, Field(description="Its name in Celery.", examples=["worker@host.4f2a"])]
    version: Annotated[str, Field(description="Its version of Rushes.", examples=["1.0.0"])]
    seen_at: Annotated[float, Field(description="Its last sign of life, in epoch seconds.", examples=[1795000000.0])]
    late_s: Annotated[
        float | None,
        Field(
            description="By how many seconds its polls were late lately, at most; null: it polled nothing.",
            examples=[0.3],
        ),
    ]


class StatusView(TypedDict):
    """The status of the deployment, or of one tenant: then what concerns the whole deployment is null."""

    object: Annotated[Literal["status"], Field(description="Always `status`.", examples=["status"])]
    at: Annotated[float, Field(description="The fleet's clock, in epoch seconds.", examples=[1795000000.0])]
    tenant: Annotated[str | None, Field(description="Whose status it is; null: everybody's.", examples=[None])]
    states: Annotated[
        Counts, Field(description="Jobs in each state, ended ones while they are kept.", examples=[{"queued": 3}])
    ]
    tenants: Annotated[
        list[TenantView] | None,
        Field(description=f"Those with most unfinished jobs, {MOST_SHOWN} at most.", examples=[[]]),
    ]
    more_tenants: Annotated[int, Field(description="How many tenants are not listed.", examples=[0])]
    accounts: Annotated[list[AccountView], Field(description="Accounts at the upstream.", examples=[[]])]
    holds: Annotated[list[HoldView], Field(description="What keeps jobs waiting.", examples=[[]])]
    queues: Annotated[
        list[QueueBacklog] | None, Field(description="Queues with work items, the most overdue first.", examples=[[]])
    ]
    doubts: Annotated[
        list[DoubtView] | None, Field(description="Purchases that need a person's decision.", examples=[[]])
    ]
    receivers: Annotated[
        list[ReceiverBacklog] | None, Field(description="Receivers with waiting deliveries.", examples=[[]])
    ]
    workers: Annotated[list[WorkerView] | None, Field(description="Workers with a recent heartbeat.", examples=[[]])]
    trouble: Annotated[
        list[str],
        Field(description="What else is wrong, in sentences.", examples=[["No worker is running: jobs wait."]]),
    ]


def seen_within_s(settings: Settings) -> float:
    """Return how long after its last sign of life a worker counts as running, in seconds."""
    return max(SEEN_WITHIN_S, MISSED_ROUNDS * settings.rescue.every_s)


def status_of(service: Service, receivers: Receivers, settings: Settings, *, tenant: str | None = None) -> StatusView:
    """Read the status of the deployment, or of one tenant.

    Raises:
        LedgerUnavailable: Redis cannot be used.
    """
    now = service.now()
    states, holds = service.counts(tenant=tenant), service.holds()
    shown: StatusView = {
        "object": "status",
        "at": now,
        "tenant": tenant,
        "states": states,
        "tenants": None,
        "more_tenants": 0,
        "accounts": [_account(service, holds, tenant)],
        "holds": list(_holds(service, holds, now, tenant)),
        "queues": None,
        "doubts": None,
        "receivers": None,
        "workers": None,
        "trouble": [],
    }
    if tenant is None:
        tenants = _tenants(service.tallies())
        shown["tenants"], shown["more_tenants"] = tenants[:MOST_SHOWN], max(len(tenants) - MOST_SHOWN, 0)
        shown["queues"] = _queues(service)
        shown["doubts"] = [_doubt(job, now) for job in _in_need(service, states)]
        shown["receivers"] = _receivers(receivers)
        shown["workers"] = _workers(service, within_s=seen_within_s(settings))
        shown["trouble"] = list(_trouble(service, shown))
    return shown


def _tenants(tallies: Mapping[str | None, Counts]) -> list[TenantView]:
    """List the tenants, those with most unfinished jobs first."""

    def unfinished(tenant: str | None) -> int:
        return sum(count for state, count in tallies[tenant].items() if not state.is_final)

    ordered = sorted(tallies, key=lambda tenant: (-unfinished(tenant), tenant or ""))
    return [{"tenant": tenant, "states": _ordered(tallies[tenant])} for tenant in ordered]


def _ordered(counts: Counts) -> Counts:
    return {state: counts[state] for state in State if counts.get(state)}


def _account(service: Service, holds: Holds, tenant: str | None) -> AccountView:
    """Show what runs upstream; of one tenant, what concerns it alone."""
    if tenant is None:
        load, most = holds.load, holds.most_in_flight
        return {"account": ACCOUNT, "in_flight": load.in_flight, "most_in_flight": most, "learnt": load.learnt}
    limit = holds.of_tenant(tenant).in_flight
    most = limit if isinstance(limit, int) else None
    return {"account": ACCOUNT, "in_flight": service.in_flight_of(tenant), "most_in_flight": most, "learnt": None}


def _holds(service: Service, holds: Holds, now: float, tenant: str | None) -> Iterator[HoldView]:
    for what, pause in holds.pauses.items():
        if tenant is None or not (what or "").startswith("tenant:") or what == what_of(tenant=tenant):
            yield {"holds": "purchases", "by": "pause", "until": None, "sentence": paused_until(pause)}
    if tenant is None and holds.is_full and holds.load.waiting_tenants:
        running = counted(holds.load.in_flight, "generation runs", "generations run")
        sentence = f"{running}, {full(holds)}: the next purchase waits for one to end."
        yield {"holds": "purchases", "by": "limit", "until": None, "sentence": sentence}
    for breaker, circuit in service.open_breakers().items():
        yield {
            "holds": "purchases" if breaker is Breaker.SUBMIT else "polls",
            "by": circuit.hold,
            "until": now + circuit.wait_s,
            "sentence": broken(breaker, circuit),
        }


def _queues(service: Service) -> list[QueueBacklog]:
    found: list[QueueBacklog] = [
        {"queue": queue, "items": backlog.items, "due": backlog.due, "overdue_s": round(backlog.overdue_s, 1)}
        for queue, backlog in service.backlogs().items()
    ]
    return sorted(found, key=lambda queue: -queue["overdue_s"])


def _in_need(service: Service, states: Counts) -> list[Job]:
    """List jobs that need a person, among the first in doubt."""
    if not states[State.IN_DOUBT]:
        return []
    return [job for job, _ in service.in_need(limit=MOST_SHOWN, most_read=_MOST_DOUBTS_READ)]


def _doubt(job: Job, now: float) -> DoubtView:
    return {
        "id": job.id,
        "since": job.attention_at,
        "sentence": waiting(job, now=now) or "",
        "commands": [
            f"rushes adopt {job.id} GENERATION",
            f"rushes resolve {job.id} --resubmit",
            f"rushes resolve {job.id} --give-up",
        ],
    }


def _receivers(receivers: Receivers) -> list[ReceiverBacklog]:
    """List the receivers with the longest backlogs."""
    longest = sorted(receivers.waiting().items(), key=lambda found: -found[1])[:MOST_SHOWN]
    return [_receiver(name, receivers.status(name)) for name, _ in longest]


def _receiver(name: str, status: ReceiverStatus) -> ReceiverBacklog:
    return {
        "receiver": name,
        "waiting": status.waiting,
        "failing_since": status.failing_since,
        "open_until": status.open_until,
    }


def _workers(service: Service, *, within_s: float) -> list[WorkerView]:
    return [
        {"worker": worker.name, "version": worker.version, "seen_at": worker.seen_at, "late_s": worker.late_s}
        for worker in service.workers_seen(within_s=within_s, most=_MOST_WORKERS)
    ]


def _trouble(service: Service, shown: StatusView) -> Iterator[str]:
    """Say what else needs a person."""
    try:
        service.check_writable()
    except LedgerUnavailable as error:
        yield f"No job is accepted: {error}."
    if not shown["workers"]:
        last = next(iter(service.workers_seen(within_s=_DAY_S, most=1)), None)
        ago = f" The last one, {last.name}, was seen {shown['at'] - last.seen_at:.0f} s ago." if last else ""
        yield f"No worker is running: jobs wait.{ago} Start one: `rushes worker`, or `rushes up`."
    elif len(versions := {worker["version"] for worker in shown["workers"] or ()}) > 1:
        yield f"The workers run {len(versions)} versions: {', '.join(sorted(versions))}."
    if shown["states"][State.STORING]:
        for job, _ in service.oldest(State.STORING, limit=1):
            if job.downloads and (why := waiting(job, now=shown["at"])):
                yield f"{job.id}: {why}"
