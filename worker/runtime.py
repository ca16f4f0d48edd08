"""The composition root of a worker: settings are poured into the parts here, and nowhere else."""

import logging
from dataclasses import dataclass
from pathlib import Path

from celery import Celery

from config.celery_app import make_app
from config.connection import connect, lives
from config.reminding import Remind, reminder_sender
from config.settings import ConfigurationError, Settings
from jobs.events import Event
from jobs.ledger import Ledger
from jobs.lifecycle import Policy
from jobs.pacing import FixedPacing
from worker.archive import Archive
from worker.hooks import Hook, load_hooks
from worker.upstream.client import Upstream

log = logging.getLogger("rushes.events")


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that a task needs."""

    settings: Settings
    ledger: Ledger
    upstream: Upstream
    archive: Archive
    hooks: dict[str, Hook]
    policy: Policy
    remind: Remind


class WorkerApp(Celery):
    """The Celery app of a worker process, with its runtime beside it."""

    settings: Settings
    runtime: Runtime


def make_worker_app(settings: Settings) -> WorkerApp:
    """An app whose runtime is not built yet: Flower loads the same app and has no use for a key."""
    app = make_app(settings, WorkerApp)
    assert isinstance(app, WorkerApp)
    app.settings = settings
    return app


def build_runtime(app: WorkerApp) -> Runtime:
    """Build a worker's parts.

    Raises:
        ConfigurationError: a worker cannot start like this; the message says what to do.
    """
    settings = app.settings
    if settings.upstream.api_key is None:
        raise ConfigurationError(
            "RUSHES_UPSTREAM__API_KEY is not set: a worker cannot buy anything without it. "
            "Set it, or run `rushes up`, which brings a sandbox upstream of its own."
        )
    threads = settings.worker.threads
    return Runtime(
        settings=settings,
        ledger=Ledger(connect(settings.redis, name="worker"), lives=lives(settings), subscribers=[log_event]),
        upstream=Upstream(settings.upstream, threads=threads),
        archive=Archive(_writable(settings.archive_dir), settings.archive, threads=threads),
        hooks=load_hooks(settings.hooks.call),
        policy=policy(settings),
        remind=reminder_sender(app),
    )


def policy(settings: Settings) -> Policy:
    """What this deployment chose about waiting."""
    return Policy(
        pacing=FixedPacing(settings.look.first_s, settings.look.interval_s),
        hold_first_s=settings.queue.hold_first_s,
        hold_longest_s=settings.queue.hold_longest_s,
        download_first_s=settings.archive.retry_first_s,
        download_longest_s=settings.archive.retry_longest_s,
        download_patience_s=settings.archive.patience_s,
    )


def log_event(event: Event) -> None:
    """Tell the log what the journal was told."""
    fields = {"event": event.name, "job": event.job_id, "turn": event.turn, **event.data}
    told = " ".join(f"{name}={value}" for name, value in fields.items() if name != "event")
    log.info("%s %s", event.name, told, extra={"event": fields})


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"The archive folder {folder} cannot be made ({error.strerror}).") from error
    return folder
