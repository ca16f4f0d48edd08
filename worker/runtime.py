"""The composition root of a worker: builds its parts from the settings."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Final

import redis
from celery import Celery

from config.celery_app import make_app, pooled_connections
from config.connection import connect, retention
from config.inputs import Inputs, inputs_of
from config.limits import limits_in
from config.private import make_folder, prepare_state
from config.settings import ConfigurationError, Settings
from config.store import Store, open_store
from config.traces import span_export
from config.wake_ups import SendWakeUp, wake_up_sender
from config.webhook_endpoints import Endpoints
from jobs.admission import fields_of
from jobs.durations import DurationStore
from jobs.events import Event, Subscriber
from jobs.job_log import JobLog
from jobs.ledger import Durability, Ledger
from jobs.log_fields import log_fields
from jobs.moves.move import Policy, PolicyOf
from jobs.outbox import Outbox
from jobs.queues import DATABASE
from jobs.schedule import LONGEST_S, SHORTEST_S, TYPICAL_S, Durations, FixedSchedule, InSlots, LearnedSchedule
from jobs.scripts import SLOT_S, Scripts
from worker import faults, metrics
from worker.archive.archive import Archive
from worker.archive.permits import download_permits
from worker.breaker import UpstreamBreakers
from worker.current_task import noting, retrying
from worker.deliver import Deliveries
from worker.describe.describer import Describer
from worker.describe.describing import Describing
from worker.download import Downloading, LateFetching
from worker.leases import Leases
from worker.poll import BATCH, CONNECTIONS, Polling, Polls
from worker.purchase import Doubting, Purchases, Purchasing
from worker.receivers.hooks import HookReceiver, load_hooks
from worker.receivers.outcome import Receiver
from worker.receivers.registry import ReceiverRegistry
from worker.receivers.webhooks import TraceOf, WebhookSender
from worker.reconcile import Reconciling
from worker.rescue import Rescuer, longest_waits
from worker.room import Room
from worker.spool import Spool
from worker.upstream.access import UpstreamAccess
from worker.upstream.client import Upstream
from worker.upstream.poller import Poller

log = logging.getLogger("rushes.events")

_OF_A_REPLY: Final = 0.6
"""WAITAOF waits this part of the time-out for Redis's reply, or its own reply would come too late."""

LOUD: Final = (
    "job.in_doubt",
    "job.needs_attention",
    "job.bought_late",
    "delivery.abandoned",
    "queue.held",
    "webhook.disabled",
    "row.unreadable",
    "due.pulled_forward",
)
"""Events that should alert a person, or explain an alert."""

QUIET: Final = ("job.polled", "job.submitting", "job.storing")
"""Events for debugging: a thousand polls a second would drown the rest; a step's end is logged too."""

LEVELS: Final = {**dict.fromkeys(LOUD, logging.WARNING), **dict.fromkeys(QUIET, logging.DEBUG)}
"""The log level of each event that is not INFO."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A worker's parts: one for each queue, and the shared ones.

    `name` is this process's own: a restarted worker has another.
    """

    name: str
    ledger: Ledger
    room: Room
    leases: Leases
    purchasing: Purchasing
    doubting: Doubting
    reconciling: Reconciling
    polling: Polling
    downloading: Downloading
    late_fetching: LateFetching
    deliveries: Deliveries
    describing: Describing
    rescuer: Rescuer
    inputs: Inputs


class WorkerApp(Celery):
    """The Celery app of a worker process, with its runtime beside it."""

    settings: Settings
    runtime: Runtime

    def use_threads(self, threads: int) -> None:
        """Share out the threads that Celery runs, of which its option `-c` has the last word."""
        worker = self.settings.worker.model_copy(update={"threads": threads})
        self.settings = self.settings.model_copy(update={"worker": worker})
        self.conf.broker_pool_limit = pooled_connections(self.settings)


def make_worker_app(settings: Settings) -> WorkerApp:
    """Make an app without its runtime: Flower loads the same app and needs no key."""
    app = make_app(settings, WorkerApp)
    assert isinstance(app, WorkerApp)
    app.conf.worker_consumer = "worker.consumer:PatientConsumer"
    app.settings = settings
    return app


def build_runtime(app: WorkerApp, hostname: str) -> Runtime:
    """Build the parts of the worker that Celery knows as `hostname`.

    Raises:
        ConfigurationError: a worker cannot start like this; the message says what to do.
    """
    settings = app.settings
    if settings.upstream.api_key is None:
        raise ConfigurationError(
            "RUSHES_UPSTREAM__API_KEY is not set: a worker cannot buy anything without it. "
            "Set it, or run `rushes up`, which brings a sandbox upstream of its own."
        )
    name, send = f"{hostname}.{token_hex(3)}", metrics.sending(retrying(app, wake_up_sender(lambda: app)))
    client = connect(settings.redis, name="worker")
    export = span_export("rushes-worker", lambda: _job_log(settings, client))
    traced = [export.note] if export else []
    subscribers = [log_event, noting(app), metrics.count_event, *traced, faults.after_write]
    ledger = _ledger(settings, client, subscribers, send)
    scripts = Scripts(
        client,
        retention=retention(settings),
        clock=None,
        subscribers=subscribers,
        send_wake_up=send,
        round_trip=metrics.round_trip,
    )
    outbox, leases = Outbox(scripts), Leases(ledger.items)
    threads, chosen = settings.worker.threads, policy(settings)
    access = _access(settings)
    upstream = Upstream(access, settings.upstream, threads=threads)
    poller = Poller(access, settings.upstream, connections=CONNECTIONS)
    breakers = _breakers(settings, ledger, chosen)
    policy_of = policies(chosen, settings, client)
    store, folder = open_store(settings), _made(settings, settings.archive_dir)
    inputs = inputs_of(settings, scripts)
    describer = Describer(store, folder, settings.describe)
    archive = _archive(settings, store, folder, describer)
    receivers = _receivers(settings, scripts, store.root, export.traceparent if export else None)
    room = Room(threads, receivers.owner_of)
    purchases = Purchases(ledger, Spool(_made(settings, settings.state_dir / "spool")), policy_of)
    download_s, poll_s = settings.longest_download_s, settings.longest_poll_s
    return Runtime(
        name=name,
        ledger=ledger,
        room=room,
        leases=leases,
        purchasing=Purchasing(
            purchases,
            ledger,
            upstream,
            breakers,
            leases,
            inputs,
            longest_s=settings.longest_purchase_s,
            worker=name,
            threads=room.half,
            limits=fields_of(limits_in(settings.limits)),
        ),
        doubting=Doubting(ledger, chosen),
        reconciling=Reconciling(
            ledger, upstream, chosen, reads_per_min=settings.reconcile.reads_per_min, page_s=poll_s
        ),
        polling=Polling(
            ledger,
            Polls(poller, breakers, room),
            policy_of,
            settings.poll.most_per_s,
            longest_s=2 * poll_s,
            slow_threads=room.slow_threads,
            keep_cancelled=chosen.keep_cancelled,
        ),
        downloading=Downloading(ledger, archive, chosen, longest_s=download_s, worker=name, threads=room.half),
        late_fetching=LateFetching(ledger, archive, poller, chosen, longest_s=download_s + poll_s),
        deliveries=Deliveries(ledger, outbox, receivers, worker=name),
        describing=Describing(ledger, describer, archive, chosen, longest_s=settings.longest_description_s),
        rescuer=Rescuer(ledger, outbox, receivers, purchases, longest_waits(settings, chosen), name),
        inputs=inputs,
    )


def _ledger(settings: Settings, client: "redis.Redis", subscribers: Sequence[Subscriber], send: SendWakeUp) -> Ledger:
    durability = Durability(_OF_A_REPLY * settings.redis.socket_timeout_s, settings.ledger.durable_replicas)
    return Ledger(
        client,
        retention=retention(settings),
        durability=durability if settings.ledger.durable_intent else None,
        subscribers=subscribers,
        send_wake_up=send,
        round_trip=metrics.round_trip,
    )


def _breakers(settings: Settings, ledger: Ledger, chosen: Policy) -> UpstreamBreakers:
    return UpstreamBreakers(
        ledger.breakers,
        first_s=chosen.hold_first_s,
        longest_s=chosen.hold_longest_s,
        trial_s=settings.upstream.connect_timeout_s + settings.upstream.total_timeout_s,
    )


def _archive(settings: Settings, store: Store, folder: Path, describer: Describer) -> Archive:
    permits = download_permits(
        private=settings.archive.private_addresses, upstream=settings.upstream.base_url.host or ""
    )
    return Archive(
        store,
        folder,
        settings.archive,
        permits=permits,
        probe=describer.probe,
        threads=settings.worker.threads,
    )


def _access(settings: Settings) -> UpstreamAccess:
    try:
        return UpstreamAccess.of(settings.upstream)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def files_needed(settings: Settings) -> int:
    """Count the files, with sockets, that a worker with these settings can have open at once."""
    threads = settings.worker.threads
    polling = min(BATCH, CONNECTIONS) + 5  # kept connections; libcurl's and the selector's own
    working = 6  # a purchase's, a download's and a webhook's connection; a partial file and what is flushed with it
    return threads * (polling + working) + 2 * (threads + 64) + 4 * settings.hooks.width + 256


def _job_log(settings: Settings, client: "redis.Redis") -> JobLog:
    return JobLog(Scripts(client, retention=retention(settings), clock=None, subscribers=()))


def _receivers(settings: Settings, scripts: Scripts, archive: str, trace_of: TraceOf | None) -> ReceiverRegistry:
    """Make the registry of receivers: from settings, endpoints and requests."""
    named = hook_receivers(settings, archive) | database_receiver(settings, archive)
    sender = WebhookSender(
        settings.webhooks,
        connections=settings.worker.threads,
        public_url=settings.api.public_url,
        trace_of=trace_of,
    )
    return ReceiverRegistry(named, Endpoints(scripts), sender, scripts.now)


def hook_receivers(settings: Settings, archive: str) -> dict[str, Receiver]:
    """Import the deployment's own hooks."""
    return {
        name: HookReceiver(name, hook, settings.hooks, archive, settings.time_scale)
        for name, hook in load_hooks(settings.hooks.call).items()
    }


def database_receiver(settings: Settings, archive: str) -> dict[str, Receiver]:
    """Make the receiver that writes the database of results, if it is wanted."""
    if not settings.sql.enabled:
        return {}
    from worker.sql.engine import make_engine  # noqa: PLC0415 (without a database nobody need wait for SQLAlchemy)
    from worker.sql.receiver import DatabaseReceiver  # noqa: PLC0415 (as above)
    from worker.sql.writing import ResultsWriter  # noqa: PLC0415 (as above)

    engine = make_engine(settings.sql_url, connections=settings.hooks.width)
    writer = ResultsWriter(engine, migrate=settings.sql.migrate)
    return {DATABASE: DatabaseReceiver(writer, settings.hooks, archive, settings.time_scale)}


def policy(settings: Settings) -> Policy:
    """Return this deployment's policy, from its settings."""
    poll, scale = settings.poll, settings.time_scale
    chosen = Policy(
        schedule=InSlots(FixedSchedule(poll.first_s, poll.interval_s), SLOT_S, SHORTEST_S / scale),
        poll_interval_s=poll.interval_s,
        download_patience_s=settings.archive.patience_s,
        quiet_s=settings.reconcile.quiet_s,
        resubmit_in_doubt=settings.reconcile.in_doubt == "resubmit",
        keep_cancelled=settings.late_fetch.keep_cancelled,
        queue_ttl_s=retention(settings).queue_ttl_s,
        describe=settings.describe.manifest or settings.describe.previews,
    )
    return chosen.faster(scale)


def policies(base: Policy, settings: Settings, client: "redis.Redis") -> PolicyOf:
    """Return each job's policy; read the durations of its kind now and then."""
    poll, scale = settings.poll, settings.time_scale
    if poll.schedule == "fixed":
        return lambda _job: base

    if poll.lateness_s < SHORTEST_S / scale:
        raise ConfigurationError(
            f"RUSHES_POLL__LATENESS_S is {poll.lateness_s:g}: polls come {SHORTEST_S / scale:g} s apart at the least, "
            "so that no schedule could keep it."
        )

    def learned(durations: Durations) -> Policy:
        learned = LearnedSchedule(
            durations,
            lateness_s=poll.lateness_s,
            shortest_s=SHORTEST_S / scale,
            longest_s=max(LONGEST_S / scale, poll.lateness_s),
        )
        return replace(base, schedule=InSlots(learned, SLOT_S, SHORTEST_S / scale))

    store = DurationStore(client, learned, typical_s=TYPICAL_S / scale)
    return lambda job: store.of(job, now=monotonic())


def log_event(event: Event) -> None:
    """Log an event of the job log."""
    level = LEVELS.get(event.name, logging.INFO)
    if not log.isEnabledFor(level):
        return
    fields = log_fields(event.job_id, event.turn, event.job, event.changes)
    log.log(level, event.name, extra={"rushes": {"event": event.name, **fields, **event.data}})


def _made(settings: Settings, folder: Path) -> Path:
    """Make a folder for this user only, like the state folder."""
    try:
        prepare_state(settings)
        make_folder(folder)
    except OSError as error:
        raise ConfigurationError(f"The folder {folder} cannot be made ({error.strerror}).") from error
    return folder
