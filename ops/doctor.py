"""`rushes doctor`: checks everything that a job needs, and says in sentences what is wrong and what to do."""

import json
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Final

import redis
import typer
from dotenv import dotenv_values
from rich.text import Text

from config.address import parse
from config.connection import connect, retention
from config.inputs import inputs_of
from config.private import is_open_to_others
from config.settings import ConfigurationError, Settings, UpstreamSettings, load, unknown_variables, whereabouts
from config.store import StoreError, open_store
from jobs import outage
from jobs.errors import LedgerUnavailable, UnknownJob, UnreadableRow
from jobs.facts import NoResult
from jobs.job import Job
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger, accepted_at
from jobs.moves.download import FAILURES_PER_URL
from jobs.scripts import Scripts
from jobs.states import State
from ops.permissions import missing
from ops.sandbox.settings import SandboxSettings
from producer.cli.console import Out
from producer.cli.exits import Exit, explained
from producer.cli.session import emit_json
from producer.counted import counted
from producer.waiting import broken, paused_until
from worker.upstream.access import UpstreamAccess
from worker.upstream.client import Reply, Upstream
from worker.upstream.wire import moved_to

SEEN_WITHIN_ROUNDS: Final = 5
"""A worker shows a sign of life in each round of its rescuer; after this many missed rounds it counts as gone."""
SEEN_WITHIN_AT_LEAST_S: Final = 15.0
SANDBOX_VARIABLES: Final = frozenset(
    f"{SandboxSettings.model_config['env_prefix']}{name.upper()}" for name in SandboxSettings.model_fields
)
_USERINFO: Final = re.compile(r"(?<=//)\S*@")
"""Up to the last @, because a password may contain a slash."""
CLOCK_WARNING_S: Final = 86_400.0
"""How long doctor warns after Redis's clock was set back."""
MOST_COUNTED: Final = 500
"""At most this many jobs are read to count waiting downloads."""

FREE_BYTES: Final = 2_000_000_000
OLDEST_REDIS: Final = 7
"""Scripts have flags since Redis 7.0."""

PROMISES_SINCE: Final = (7, 2)
"""WAITAOF, by which an intent is known to be on disk, exists since Redis 7.2, and in every Valkey."""

ALMOST_FULL: Final = 0.95

ENOUGH_JOBS: Final = 100
"""With fewer jobs, Redis's memory says nothing about the size of one."""

EVERY_JOB: Final = f"{PREFIX}index:all"
PACE_JOBS: Final = 1000
"""The pace is that of the newest jobs, at most this many."""


class Verdict(StrEnum):
    """The severity of a finding."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; its sentence never contains the user or password of a URL."""

    about: str
    verdict: Verdict
    sentence: str

    def __post_init__(self) -> None:
        """Remove the userinfo from every URL."""
        object.__setattr__(self, "sentence", _USERINFO.sub("…@", self.sentence))


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check settings, Redis, workers, the upstream's key and the disk; exit 1 if something is broken."""
    with explained():
        findings = list(examine(load()))
        if as_json:
            emit_json([{"about": f.about, "verdict": f.verdict, "sentence": f.sentence} for f in findings])
        else:
            _print(findings)
        if any(finding.verdict is Verdict.BAD for finding in findings):
            raise typer.Exit(Exit.FAILED)


def examine(settings: Settings) -> Iterator[Finding]:
    """Run every check; each yields findings."""
    yield from _variables()
    yield from _redis(settings)
    yield from time_scale(settings)
    yield from _upstream(settings)
    yield _archive(settings)
    yield from _sharing(settings)
    yield from _privacy(settings)


def _variables() -> Iterator[Finding]:
    given = {**{name: value or "" for name, value in dotenv_values(".env").items()}, **os.environ}
    for name, nearest in unknown_variables(given, SANDBOX_VARIABLES).items():
        meant = f" Did you mean {nearest}?" if nearest else ""
        yield Finding("settings", Verdict.WARN, f"{name} is set, but no setting has this name.{meant}")
    yield Finding("settings", Verdict.GOOD, "The settings can be read.")


def _redis(settings: Settings) -> Iterator[Finding]:
    try:
        with connect(settings.redis, name="doctor") as client:
            yield from _permissions(client, parse(settings.redis.url.get_secret_value()).db)
            yield from _server(client)
            yield from _room(client, settings)
            yield _workers(Ledger(client, retention=retention(settings)), within_s=_seen_within_s(settings))
            yield from _clock(Ledger(client, retention=retention(settings)))
            yield from _paused(Ledger(client, retention=retention(settings)))
            yield from _attention(Ledger(client, retention=retention(settings)))
    except redis.RedisError as error:
        yield _unanswered(outage.explained(error), error)
    except LedgerUnavailable as error:
        yield _unanswered(str(error), error.__cause__)


def _unanswered(why: str, cause: BaseException | None) -> Finding:
    advice = f" {whereabouts()}" if outage.is_unreachable(cause) else ""
    return Finding("redis", Verdict.BAD, f"Redis cannot be used: {why.rstrip('.')}.{advice}")


def _permissions(client: "redis.Redis", db: int) -> Iterator[Finding]:
    if lacking := missing(client, db):
        yield Finding(
            "redis",
            Verdict.BAD,
            f"Redis forbids its user what Rushes needs. Grant it: ACL SETUSER <user> {' '.join(lacking)} "
            "(docs/how-to/deploy.md lists the whole).",
        )
    else:
        yield Finding("redis", Verdict.GOOD, "Redis permits its user every command, key and channel that Rushes uses.")


def _server(client: "redis.Redis") -> Iterator[Finding]:
    info = client.info()
    answers = f"Redis answers: {info.get('server_name', 'redis')} {info['redis_version']}."
    if int(str(info["redis_version"]).partition(".")[0]) < OLDEST_REDIS:
        yield Finding("redis", Verdict.BAD, f"{answers} Rushes needs {OLDEST_REDIS}.0 or newer, or Valkey.")
    else:
        yield Finding("redis", Verdict.GOOD, answers)
    if tuple(map(int, str(info["redis_version"]).split(".")[:2])) < PROMISES_SINCE:
        yield Finding(
            "redis",
            Verdict.WARN,
            "It cannot say when a write is on disk (WAITAOF, since 7.2): a power cut may lose the intent of a "
            "purchase, which is then bought again. Update it, or set `appendfsync always`.",
        )
    if info.get("redis_mode") == "cluster":
        yield Finding("redis", Verdict.BAD, "This is a Redis Cluster, which Celery cannot use: take a single primary.")
    if info.get("role") == "slave":
        yield Finding("redis", Verdict.BAD, "This Redis is a read-only replica: set RUSHES_REDIS__URL to the master.")
    if info.get("aof_enabled"):
        yield Finding("redis", Verdict.GOOD, "The append-only file is on: a crash loses a second of writes at most.")
    else:
        yield Finding("redis", Verdict.BAD, "appendonly is off: a restart of Redis loses jobs. Set `appendonly yes`.")
    policy = info.get("maxmemory_policy", "unknown")
    if policy == "noeviction":
        yield Finding("redis", Verdict.GOOD, "maxmemory-policy is noeviction: Redis throws no job away.")
    else:
        yield Finding("redis", Verdict.BAD, f"maxmemory-policy is {policy}: set noeviction, or jobs are thrown away.")
    if info.get("aof_last_write_status", "ok") != "ok":
        yield Finding("redis", Verdict.BAD, "The append-only file could not be written: is Redis's disk full?")


def _room(client: "redis.Redis", settings: Settings) -> Iterator[Finding]:
    """Say how long Redis's memory lasts at the pace of the newest jobs."""
    info = client.info("memory")
    used, most = int(info["used_memory"]), int(info.get("maxmemory") or 0)
    if not most:
        return
    if used >= ALMOST_FULL * most:
        yield Finding("redis", Verdict.BAD, "Redis is full, or nearly: raise its maxmemory; until then jobs wait.")
        return
    jobs = int(client.zcard(EVERY_JOB))
    newest = min(jobs, PACE_JOBS)
    per_s = _pace(client, newest)
    if jobs < ENOUGH_JOBS or per_s is None:
        yield Finding("redis", Verdict.GOOD, f"Redis uses {used / most:.0%} of its maxmemory.")
        return
    bytes_each = used / jobs
    kept = per_s * retention(settings).retention_s * bytes_each
    room = f"Redis uses {used / most:.0%} of its maxmemory, about {bytes_each:,.0f} bytes a job."
    if kept < ALMOST_FULL * most:
        yield Finding("redis", Verdict.GOOD, f"{room} At the pace of the last {newest} jobs it does not fill up.")
    else:
        hours = (most - used) / (per_s * bytes_each) / 3600
        yield Finding(
            "redis",
            Verdict.WARN,
            f"{room} At the pace of the last {newest} jobs it is full in {hours:,.1f} hours, and takes no new ones: "
            "raise its maxmemory, or lower RUSHES_LEDGER__RETENTION_S.",
        )


def _pace(client: "redis.Redis", newest: int) -> float | None:
    """Return how many jobs a second were accepted, by the newest ones; None if a producer made ids of its own."""
    first = client.zrange(EVERY_JOB, -newest, -newest) if newest else []
    try:
        return newest / max(time.time() - accepted_at(str(first[0])), 1.0)
    except (IndexError, ValueError):
        return None


def _paused(ledger: Ledger) -> Iterator[Finding]:
    for pause in ledger.pauses.current().values():
        yield Finding("queue", Verdict.WARN, paused_until(pause))


def _seen_within_s(settings: Settings) -> float:
    return max(SEEN_WITHIN_AT_LEAST_S, SEEN_WITHIN_ROUNDS * settings.rescue.every_s)


def _workers(ledger: Ledger, *, within_s: float) -> Finding:
    seen = ledger.workers(within_s=within_s)
    if seen:
        return Finding("workers", Verdict.GOOD, f"{len(seen)} running: {', '.join(seen)}.")
    return Finding(
        "workers",
        Verdict.BAD,
        "No worker is running: jobs wait. Start one: `rushes worker`, or `rushes up`.",
    )


def _clock(ledger: Ledger) -> Iterator[Finding]:
    clock, now = ledger.clock.status(), ledger.now()
    if clock.behind_s:
        yield Finding(
            "redis",
            Verdict.BAD,
            f"Redis's clock was set back: it is {clock.behind_s:.0f} s behind what it said before. Jobs wait until a "
            "worker's next step moves their due times back; is one running?",
        )
    elif clock.set_back_s and clock.set_back_at and now - clock.set_back_at < CLOCK_WARNING_S:
        yield Finding(
            "redis",
            Verdict.WARN,
            f"Redis's clock was set back by {clock.set_back_s:.0f} s {(now - clock.set_back_at) / 60:.0f} minutes ago; "
            "due times were corrected. Run NTP on its host.",
        )


def _unstored(ledger: Ledger) -> Iterator[Finding]:
    """Report paid videos whose download has failed repeatedly, because of the archive or the video's host."""
    waiting = [job for job in _oldest(ledger) if job.downloads >= FAILURES_PER_URL and not job.is_final]
    if waiting:
        count = counted(len(waiting), "paid video waits for its download", "paid videos wait for their downloads")
        sentence = f"{count}: {waiting[0].message}. Each is fetched once that is fixed."
        yield Finding("archive", Verdict.BAD, sentence)


def _oldest(ledger: Ledger) -> Iterator[Job]:
    states = [State.STORING, State.RENDERING]
    for job_id in ledger.page(states=states, limit=MOST_COUNTED, newest_first=False):
        with suppress(UnknownJob, UnreadableRow):
            yield ledger.get(job_id)


def _attention(ledger: Ledger) -> Iterator[Finding]:
    counts = {state.value: count for state, count in ledger.counts().items() if count}
    by_state = ", ".join(f"{count} {state}" for state, count in counts.items()) or "none yet"
    yield Finding("jobs", Verdict.GOOD, f"Jobs: {by_state}.")
    if counts.get("in_doubt"):
        yield Finding(
            "jobs",
            Verdict.WARN,
            f"{counted(counts['in_doubt'], 'purchase is', 'purchases are')} in doubt: the reply was lost. "
            "The upstream's log is being read; "
            "`rushes list --needs-attention` shows those that wait for you.",
        )
    yield from _unstored(ledger)
    for breaker, circuit in ledger.breakers.currently_open().items():
        yield Finding("queue", Verdict.WARN, broken(breaker, circuit))


def _upstream(settings: Settings) -> Iterator[Finding]:
    upstream = settings.upstream
    if upstream.api_key is None:
        yield Finding("upstream", Verdict.BAD, "RUSHES_UPSTREAM__API_KEY is not set: workers do not start without it.")
        return
    try:
        access = UpstreamAccess.of(upstream)
    except ValueError as error:
        yield Finding("upstream", Verdict.BAD, f"Workers do not start: {error}.")
        return
    with closing(Upstream(access, upstream, threads=1)) as client:
        yield _account(access.base_url.rpartition("@")[2], client.billing())


def time_scale(settings: Settings) -> Iterator[Finding]:
    """Find waits that are shortened before an upstream that costs money."""
    host = UpstreamSettings.model_fields["base_url"].default.host
    if settings.time_scale > 1 and settings.upstream.base_url.host == host:
        scale = f"RUSHES_TIME_SCALE is {settings.time_scale:g}, which is for a fast sandbox"
        yield Finding("upstream", Verdict.WARN, f"{scale}: {host} is tried again that much earlier. Unset it.")


def _account(place: str, reply: Reply | NoResult) -> Finding:
    """Judge address and key by the reply to a request for the balance."""
    if isinstance(reply, NoResult):
        return Finding("upstream", Verdict.BAD, f"{place} cannot be reached ({reply.message}).")
    if moved := moved_to(reply.status, reply.headers):
        what = f"{place} is not the API's address: it answers {reply.status} and names {moved}."
        return Finding("upstream", Verdict.BAD, f"{what} Set RUSHES_UPSTREAM__BASE_URL; until then jobs wait.")
    if reply.status == HTTPStatus.UNAUTHORIZED:
        return Finding(
            "upstream", Verdict.BAD, "The upstream does not know this key (401): set RUSHES_UPSTREAM__API_KEY."
        )
    if reply.status < HTTPStatus.BAD_REQUEST:
        return Finding("upstream", Verdict.GOOD, f"The upstream at {place} accepts the key{_balance(reply.body)}.")
    return Finding("upstream", Verdict.WARN, f"The upstream answers {reply.status} to a request for the balance.")


def _balance(body: bytes) -> str:
    try:
        return f"; the balance is {float(json.loads(body)['current_balance']):.2f} USD"
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return ""


def _archive(settings: Settings) -> Finding:
    return _disk(settings) if settings.archive.url is None else _bucket(settings)


def _sharing(settings: Settings) -> Iterator[Finding]:
    """Warn if a worker has another archive than this host."""
    with (
        suppress(redis.RedisError, LedgerUnavailable, ConfigurationError),
        connect(settings.redis, name="doctor") as client,
    ):
        scripts = Scripts(client, retention=retention(settings), clock=None, subscribers=())
        try:
            is_shared = inputs_of(settings, scripts).is_shared()
        except StoreError:
            is_shared = False
        if not is_shared:
            yield Finding(
                "archive",
                Verdict.WARN,
                "A worker has another archive than this host, where requests with more than 16 KB of parameters "
                "are refused: set the same RUSHES_ARCHIVE__URL, or a mounted RUSHES_ARCHIVE__DIR, for all.",
            )


def _bucket(settings: Settings) -> Finding:
    try:
        open_store(settings).check()
    except (StoreError, ConfigurationError) as error:
        return Finding(
            "archive",
            Verdict.BAD,
            f"The archive {settings.archive_root} cannot be read from here: {error}. Its credentials and endpoint come "
            "from AWS_…, GOOGLE_… or AZURE_… variables (docs/how-to/archive.md).",
        )
    return Finding("archive", Verdict.GOOD, f"The archive is {settings.archive_root}, and it can be listed from here.")


def _disk(settings: Settings) -> Finding:
    folder = settings.archive_dir
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        return Finding("archive", Verdict.BAD, f"The archive {folder} cannot be written from here.")
    free = shutil.disk_usage(there).free
    sentence = f"The archive is {folder}, with {free / 1e9:.1f} GB free"
    if free < FREE_BYTES:
        return Finding("archive", Verdict.WARN, f"{sentence}: a day of videos may not fit.")
    return Finding("archive", Verdict.GOOD, f"{sentence}.")


def _privacy(settings: Settings) -> Iterator[Finding]:
    """Warn if every user of this machine can read the state folder, which contains prompts, videos and secrets."""
    places = [("settings", settings.state_dir), ("archive", settings.archive_dir)]
    if settings.sql.enabled:
        from worker.sql.engine import sqlite_file  # noqa: PLC0415 (SQLAlchemy is half of what a command imports)

        try:
            places += [("database", file) for file in [sqlite_file(settings.sql_url)] if file]
        except ConfigurationError as error:
            yield Finding("database", Verdict.BAD, str(error))
    for about, path in places:
        if is_open_to_others(path):
            advice = f"`chmod o-rwx {shlex.quote(str(path))}`, unless that is meant"
            yield Finding(about, Verdict.WARN, f"Every user of this machine can read {path}: {advice}.")


def _print(findings: list[Finding]) -> None:
    console = Out(highlight=False, soft_wrap=True)
    marks = {Verdict.GOOD: ("ok   ", "green"), Verdict.WARN: ("look ", "yellow"), Verdict.BAD: ("WRONG", "bold red")}
    for finding in findings:
        console.print(Text.assemble(marks[finding.verdict], f" {finding.about:<9} {finding.sentence}"))
