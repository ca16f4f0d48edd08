"""The worker's entry: `celery -A worker.app worker`. Flower and Celery's tools load the same app."""

import logging
import warnings
from typing import Any

from celery import signals
from celery.exceptions import SecurityWarning

from config.logs import JOB_FIELDS, configure
from config.open_files import allow
from config.settings import ConfigurationError, load
from worker import metrics
from worker.rescue import BackgroundStep
from worker.runtime import WorkerApp, build_runtime, files_needed, make_worker_app

log = logging.getLogger("rushes.worker")

# Celery warns of a worker that root runs, as in many a container, because a pickled message may run anything. Ours
# accepts JSON only; with pickle Celery refuses to start, whatever is ignored here.
warnings.filterwarnings("ignore", "You're running the worker with superuser privileges", SecurityWarning)


def _make() -> WorkerApp:
    try:
        made = make_worker_app(load())
    except ConfigurationError as error:
        raise SystemExit(str(error)) from None
    made.set_default()
    made.steps["worker"].add(BackgroundStep)
    return made


app = _make()

import worker.tasks  # noqa: E402, F401 (the tasks bind to the app above, by Celery's shared_task)


@signals.setup_logging.connect(weak=False)
def _set_up_logging(**_ignored: Any) -> None:
    """Ours instead of Celery's: one format, secrets redacted."""
    configure(app.settings)


@signals.worker_init.connect(weak=False)
def _prepare(sender: Any, **_ignored: Any) -> None:
    """Build the worker's parts before it takes a message, or stop it with a sentence."""
    if isinstance(sender.concurrency, int):  # else it is Celery's `auto`, which is resolved later
        app.use_threads(sender.concurrency)
    settings = app.settings
    needed = files_needed(settings)
    if (allowed := allow(needed)) < needed:
        log.warning(
            "this process may hold %d files open and can need %d: raise its hard limit (ulimit -Hn), "
            "or lower RUSHES_WORKER__THREADS",
            allowed,
            needed,
        )
    try:
        app.runtime = build_runtime(app, str(sender.hostname))
    except ConfigurationError as error:
        raise SystemExit(str(error)) from None
    JOB_FIELDS.worker = app.runtime.name
    metrics.serve(settings.worker.metrics_listen, threads=sender.concurrency, folder=settings.archive_dir)
