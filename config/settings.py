"""All settings, each with name, unit, bound and reason, read from RUSHES_* variables and `.env`.

`rushes up` writes its addresses to `<state folder>/up.env`; they apply where the environment and `.env` set nothing, so
that a second terminal finds the running stack.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from config.address import NotAnAddress, parse
from config.sending import sending_s
from jobs.errors import RushesError

PREFIX = "RUSHES_"
DEFAULT_STATE_DIR = Path(".rushes")
SHORTEST_KEY = 32
PROBE_TIMEOUT_S = 10.0
"""For reading a video's properties, which takes a tenth of a second; the job goes on without them."""

PREVIEW_TIMEOUT_S = 30.0
"""For making a video's pictures, which takes a second or two."""

CONNECT_S = 10.0
"""For connecting to the upstream, the CDN or the object store; all of them answer in a second, or are tried again."""

REDIS_CONNECT_S = 2.0
"""For connecting to Redis, which is near; who waits for it, waits for nothing else."""

CDN_SILENCE_S = 30.0
"""Between two bytes of a video; longer, and the connection is dead."""

LONGEST_VARIATION = 1.2
"""The largest factor of a random variation of waits, which keeps retries apart."""

_ENDPOINT = re.compile(r"(/+v[12])+(/(video/generations|generate/video/google/generation))?/*$", re.IGNORECASE)
"""The part of an endpoint that people copy with the upstream's address."""

_DOTENV = Path(".env")


class ConfigurationError(RushesError):
    """A setting is invalid; the message says which and what to do. It must end the process."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class RedisSettings(_Group):
    """The Redis of ledger and broker."""

    url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey: redis://[:password@]host:port/db, rediss:// for TLS; or the master that "
        "Sentinels name: sentinel://[:password@]host:26379,host2:26379/db?master=name.",
    )
    sentinel_password: SecretStr | None = Field(None, description="The password of the Sentinels, if they have one.")
    socket_timeout_s: float = Field(
        5.0, gt=1, le=60, description="Time-out for a reply, so that a silent Redis hangs nothing for ever."
    )

    @property
    def connect_timeout_s(self) -> float:
        """Time-out for connecting."""
        return min(REDIS_CONNECT_S, self.socket_timeout_s)

    @field_validator("url")
    @classmethod
    def _address(cls, value: SecretStr) -> SecretStr:
        try:
            parse(value.get_secret_value())
        except NotAnAddress as error:
            raise ValueError(
                f"not a Redis address: {error}. Write redis://[:password@]host:port/db, rediss:// for TLS, or "
                "sentinel://[:password@]host:26379,host2:26379/db?master=name; percent-encode special "
                "characters in the password (%23 for #, %2F for /, %3F for ?)"
            ) from None
        return value


class UpstreamSettings(_Group):
    """The service that renders: AI/ML API, or the sandbox."""

    base_url: HttpUrl = Field(HttpUrl("https://api.aimlapi.com"), description="The address of the upstream's API.")
    api_key: SecretStr | None = Field(None, description="The upstream's key. Without it `rushes up` uses the sandbox.")
    family: Literal["universal", "google"] = Field(
        "universal",
        description="Endpoints for Google's models: /v2/video/generations, or the older google ones.",
    )
    total_timeout_s: float = Field(
        60.0,
        gt=0,
        le=600,
        description="Time-out for a whole reply, half of it for the first byte; a poll's is shorter, 2 s at first.",
    )
    ca_bundle: Path | None = Field(None, description="A CA file for the upstream's certificate.")

    @property
    def connect_timeout_s(self) -> float:
        """Time-out for connecting."""
        return min(CONNECT_S, self.total_timeout_s)

    @property
    def read_timeout_s(self) -> float:
        """Time-out between two bytes, the first one included: a silent connection is noticed before the total."""
        return self.total_timeout_s / 2

    @field_validator("base_url")
    @classmethod
    def _without_version(cls, value: HttpUrl) -> HttpUrl:
        """Remove a version or endpoint, which the vendor's pages include and we append ourselves."""
        if re.search("[?#]", str(value)):
            raise ValueError("contains a ? or #; write only the address, such as https://api.aimlapi.com")
        return HttpUrl(_ENDPOINT.sub("", str(value)))


class PollSettings(_Group):
    """When a generation is polled."""

    schedule: Literal["learned", "fixed"] = Field(
        "learned",
        description="learned: polls when jobs of the same kind usually finish. fixed: polls at even intervals.",
    )
    lateness_s: float = Field(
        4.0,
        gt=0,
        description="Learned: mean time from a video's end to the poll that finds it. Half costs twice the polls.",
    )
    first_s: float = Field(30.0, ge=0, description="Fixed: the time from the receipt to the first poll.")
    interval_s: float = Field(
        10.0,
        gt=0,
        description="Fixed: time between polls, as in the upstream's example. Also after a failure but a time-out.",
    )
    most_per_s: float | None = Field(
        None, gt=0, description="Most polls per second of the whole fleet; unset: no limit."
    )
    deadline_s: float = Field(
        1000.0, gt=0, description="The longest time from a purchase to its video, as in the upstream's example."
    )


class QueueSettings(_Group):
    """How long a job waits for its purchase."""

    ttl_s: float = Field(86400.0, gt=0, description="A job that is not bought within this time expires, at no cost.")
    request_bytes: int = Field(8_388_608, ge=1024, description="The largest request, images in base64 included.")
    input_bytes: int = Field(
        2_147_483_648,
        ge=0,
        description="Bytes of pictures in base64 and long texts that the archive keeps for one tenant's jobs.",
    )


class LimitSettings(_Group):
    """Limits on purchases, fleet-wide; `rushes limits set` overrides them at once. 0: no limit."""

    in_flight: int = Field(
        20,
        ge=0,
        description="Generations that run upstream at once. A few minutes of them are what a mistaken batch can cost.",
    )
    per_min: float = Field(0.0, ge=0, description="Purchases in any minute.")
    tenant_in_flight: int = Field(0, ge=0, description="Generations of one tenant that run upstream at once.")
    tenant_per_min: float = Field(0.0, ge=0, description="Purchases of one tenant in any minute.")


class ReconcileSettings(_Group):
    """How a purchase in doubt is resolved."""

    reads_per_min: int = Field(
        100,
        ge=1,
        description="Most pages of the log that the fleet reads per minute. The upstream allows 200 in any minute, "
        "and one of its minutes may overlap two of ours.",
    )
    quiet_s: float = Field(
        3600.0,
        gt=0,
        description="How long a missing log row proves nothing; longer than any generation, because rows are late.",
    )
    in_doubt: Literal["hold", "resubmit"] = Field(
        "hold",
        description="After that: hold waits for a person (rushes adopt, rushes resolve), resubmit risks paying twice.",
    )


class LateFetchSettings(_Group):
    """Paid generations whose job has ended."""

    keep_cancelled: bool = Field(
        False, description="Fetch the video of a job that was cancelled after its purchase; it is paid for."
    )


class ArchiveSettings(_Group):
    """The archive, where the videos are stored."""

    dir: Path | None = Field(
        None,
        description="The archive's folder; unset: `archive` in the state folder. Downloads are always made there.",
    )
    url: str | None = Field(
        None,
        description="An object store instead of the folder: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix.",
    )
    private_addresses: bool | None = Field(
        None,
        description="Whether videos may be fetched from private addresses; unset: only if the upstream is at one.",
    )
    links: Literal["none", "signed", "api"] = Field(
        "none",
        description="URLs in replies: none, signed ones of the object store, or those of Rushes' HTTP API.",
    )
    link_life_s: float = Field(
        3600.0, ge=1, le=604_800, description="How long a signed URL is valid, for anybody who has it."
    )
    keep_completed_s: float | None = Field(
        None, gt=0, description="How long `rushes archive prune` keeps the videos of completed jobs; unset: for ever."
    )
    keep_fetched_late_s: float | None = Field(
        None, gt=0, description="The same for late videos of jobs that expired, failed or were cancelled."
    )
    keep_bytes: int | None = Field(
        None, ge=0, description="The total size that it keeps, the newest first; unset: everything."
    )
    max_bytes: int = Field(2_147_483_648, ge=1024, description="The largest video that is downloaded.")
    total_timeout_s: float = Field(600.0, gt=0, description="Time-out for a whole download.")
    patience_s: float = Field(
        86400.0, gt=0, description="How long a download is retried before the job fails as not_stored."
    )

    @property
    def read_timeout_s(self) -> float:
        """Time-out between two bytes of the CDN."""
        return min(CDN_SILENCE_S, self.total_timeout_s / 2)

    @field_validator("url")
    @classmethod
    def _bucket(cls, value: str | None) -> str | None:
        if value is None:
            return None
        found = urlsplit(value)
        if found.scheme not in {"s3", "gs", "az"} or not found.hostname or found.query or found.fragment:
            raise ValueError("not an object store; write s3://bucket/prefix, gs://… or az://…; a folder goes into DIR")
        if "@" in found.netloc:
            raise ValueError("contains credentials; set AWS_ACCESS_KEY_ID and the like instead, which no log shows")
        return value.rstrip("/")


class DescribeSettings(_Group):
    """The description of a video and the files beside it."""

    probe: bool = Field(
        True,
        description="Read each video's duration, size, codecs and loudness; note differences from the request.",
    )
    manifest: bool = Field(True, description="Write a JSON file about the job beside the video.")
    previews: bool = Field(
        True,
        description="Write a still and a small moving picture beside the video; up to a second of CPU each.",
    )
    gif: bool = Field(
        False,
        description="With the previews, write the moving picture as a GIF too; a tenth of a second of CPU, up to 2 MB.",
    )

    @model_validator(mode="after")
    def _gif_is_a_preview(self) -> Self:
        if self.gif and not self.previews:
            raise ValueError("gif is made of the previews' pictures; set previews to true, or gif to false")
        return self


class HooksSettings(_Group):
    """Result hooks: Python functions that are called when a job has ended."""

    call: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Callables by import path, comma separated: `package.module:function`. Called for each ended job.",
    )
    attempts: int = Field(
        12,
        ge=1,
        le=1000,
        description="Most calls of a raising hook for one job; then it is abandoned, with a warning in the log.",
    )
    longest_s: float = Field(300.0, gt=0, description="A call of a hook that takes longer than this is repeated.")
    width: int = Field(2, ge=1, le=64, description="Concurrent calls of one hook, or statements to the database.")

    @field_validator("call", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("call")
    @classmethod
    def _import_paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            module, _, name = path.partition(":")
            if not (module and name):
                raise ValueError(f"{path!r} is not an import path; write package.module:function")
        return value


class SqlSettings(_Group):
    """The database of results: one row per ended job."""

    enabled: bool = Field(True, description="Write each ended job into a database.")
    url: SecretStr | None = Field(
        None,
        description="postgresql://user:password@host/db or sqlite:///file (a ? is written %3F); unset: videos.sqlite "
        "in the state folder.",
    )
    migrate: bool = Field(True, description="Migrate the schema at first use; false: only `rushes db upgrade` does.")


class WebhooksSettings(_Group):
    """Webhooks: signed HTTP requests when a job has ended."""

    keys: SecretStr | None = Field(
        None,
        description="The key from which endpoints' secrets derive, 32 characters or more; new,old while it changes.",
    )
    allow_private: bool = Field(
        False, description="Also call private, loopback and link-local addresses, and plain http."
    )
    timeout_s: float = Field(15.0, gt=0, le=120, description="Time-out for a receiver's whole reply.")
    width: int = Field(4, ge=1, le=64, description="Concurrent requests to one receiver.")
    retry_s: Annotated[tuple[float, ...], NoDecode] = Field(
        (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0),
        description="The waits after each failed request, comma separated, varied by a fifth; then it is abandoned.",
    )
    disable_after_s: float = Field(
        432_000.0, gt=0, description="An endpoint that fails for this long without a success is disabled."
    )
    ca_bundle: Path | None = Field(None, description="A CA file for the receivers' certificates.")

    @field_validator("retry_s", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("retry_s")
    @classmethod
    def _waits(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(wait <= 0 for wait in value):
            raise ValueError("every wait must be longer than 0")
        return value

    @field_validator("keys")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value and any(len(key) < SHORTEST_KEY for key in _keys(value)):
            raise ValueError(f"a key must have {SHORTEST_KEY} characters or more; `openssl rand -hex 32` makes one")
        return value

    @property
    def signing_keys(self) -> tuple[bytes, ...]:
        """The keys, the newest first; empty while webhooks are off."""
        return tuple(key.encode() for key in _keys(self.keys)) if self.keys else ()


class RescueSettings(_Group):
    """How queues with lost messages are found."""

    every_s: float = Field(3.0, gt=0, description="How often each worker looks for overdue queues (varied by a fifth).")


class LedgerSettings(_Group):
    """How long the ledger keeps what."""

    retention_s: float = Field(604_800.0, gt=0, description="How long an ended job's row and job log are kept.")
    idempotency_s: float = Field(86_400.0, gt=0, description="How long an idempotency key is kept.")
    durable_intent: bool = Field(
        True,
        description="Buy only after Redis has confirmed that the intent is on disk (WAITAOF, if the server has it).",
    )
    durable_replicas: int = Field(0, ge=0, description="Replicas that must have the intent on disk too.")
    stream_entries: int = Field(
        50_000,
        ge=1000,
        description="Entries of the event stream of all jobs, approximately; the newest are kept.",
    )


class WorkerSettings(_Group):
    """A worker process."""

    threads: int = Field(64, ge=1, le=512, description="Threads per worker process; they mostly wait for HTTP.")
    task_events: bool = Field(
        True, description="Send Celery's task events, which Flower shows, for about a tenth of a task's CPU."
    )
    metrics_listen: str | None = Field(
        None,
        description="Where a worker serves Prometheus its metrics, without a password: address:port. Unset: nowhere.",
    )

    @field_validator("metrics_listen")
    @classmethod
    def _address_and_port(cls, value: str | None) -> str | None:
        try:
            found = urlsplit(f"//{value}")
            is_good = bool(found.hostname and found.port and found.netloc == value)
        except ValueError:
            is_good = False
        if value is not None and not is_good:
            raise ValueError("not an address with a port; write 127.0.0.1:9464, or 0.0.0.0:9464 for all addresses")
        return value


class ApiSettings(_Group):
    """The HTTP API."""

    host: str = Field("127.0.0.1", description="The address that the API listens on; 0.0.0.0 for all.")
    port: int = Field(
        8000, ge=1, le=65535, description="The API's port; `rushes up` chooses another if this one is in use."
    )
    auth: Literal["keys", "off"] = Field(
        "keys",
        description="keys: callers need a key (rushes keys issue). off: anybody on this machine, and nobody else.",
    )
    requests_per_min: int = Field(600, ge=1, le=1_000_000, description="Most requests per key and minute.")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins of web pages that may call the API, comma separated: https://shop.example."
    )
    public_url: HttpUrl | None = Field(
        None,
        description="The API's public address, for links in replies and webhooks; unset: webhooks have none.",
    )
    default_model: str = Field("google/veo3", min_length=1, description="The model of a request that names none.")
    default_image_model: str = Field(
        "google/veo-3.0-i2v", min_length=1, description="The same for a request with a picture."
    )
    check_pictures: bool = Field(
        True,
        description="Read the beginning of a picture's URL before a request is accepted; never from private addresses.",
    )
    longest_wait_s: float = Field(60.0, gt=0, le=600, description="The longest `Prefer: wait` that is obeyed.")

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _named_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not origin.startswith(("https://", "http://")) or origin.count("/") != 2:  # noqa: PLR2004 (of scheme://)
                raise ValueError(f"{origin!r} is no origin; write https://shop.example, without a path")
        return value

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.auth == "off" and self.host not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("auth is off, so host must be 127.0.0.1: anybody who reaches it could buy videos")
        return self


class ReuseSettings(_Group):
    """Reuse of the stored video of an identical request."""

    enabled: bool = Field(False, description="Permit `dedupe` in requests; set it for workers and producers alike.")


class FlowerSettings(_Group):
    """Flower, which watches the workers."""

    port: int = Field(5555, ge=1, le=65535, description="Flower's port in `rushes up`, if it is free.")
    basic_auth: SecretStr | None = Field(
        None,
        description="user:password for Flower, in ASCII; more after commas. Compose does not start without it.",
    )

    @field_validator("basic_auth")
    @classmethod
    def _comparable(cls, value: SecretStr | None) -> SecretStr | None:
        for pair in value.get_secret_value().split(",") if value else ():
            user, _, password = pair.partition(":")
            if not (user and password and pair.isascii() and pair.isprintable() and pair == pair.strip()):
                raise ValueError(
                    "write user:password, both in ASCII and without a comma, which begins the next pair: "
                    "Flower compares no other characters"
                )
        return value


class LogSettings(_Group):
    """Logging."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="The lowest level that is logged.")
    format: Literal["text", "json"] = Field("text", description="text for people, json for machines.")


class Settings(BaseSettings):
    """All settings, frozen; `load()` reads them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file_encoding="utf-8",
        env_ignore_empty=True,  # `NAME=` in a compose or .env file means: not set
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    state_dir: Path = Field(DEFAULT_STATE_DIR, description="Rushes' folder on this machine: data, logs, archive.")
    time_scale: float = Field(
        1.0,
        ge=1,
        le=10_000,
        description="Divides the waits before retries and the bounds of polls, as a sandbox is faster than life.",
    )
    redis: RedisSettings = Field(default_factory=RedisSettings)
    upstream: UpstreamSettings = Field(default_factory=UpstreamSettings)
    poll: PollSettings = Field(default_factory=PollSettings)
    queue: QueueSettings = Field(default_factory=QueueSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    archive: ArchiveSettings = Field(default_factory=ArchiveSettings)
    describe: DescribeSettings = Field(default_factory=DescribeSettings)
    reconcile: ReconcileSettings = Field(default_factory=ReconcileSettings)
    late_fetch: LateFetchSettings = Field(default_factory=LateFetchSettings)
    hooks: HooksSettings = Field(default_factory=HooksSettings)
    sql: SqlSettings = Field(default_factory=SqlSettings)
    webhooks: WebhooksSettings = Field(default_factory=WebhooksSettings)
    rescue: RescueSettings = Field(default_factory=RescueSettings)
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    reuse: ReuseSettings = Field(default_factory=ReuseSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    flower: FlowerSettings = Field(default_factory=FlowerSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @property
    def archive_dir(self) -> Path:
        """The archive's folder; with an object store, the folder for downloads."""
        return (self.archive.dir or self.state_dir / "archive").absolute()

    @property
    def archive_root(self) -> str:
        """The root of stored videos' paths: a folder or a bucket's address."""
        return self.archive.url or str(self.archive_dir)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.archive.links == "signed" and self.archive.url is None:
            raise ValueError(
                "RUSHES_ARCHIVE__LINKS=signed needs an object store in RUSHES_ARCHIVE__URL: a folder has no signed URLs"
            )
        if self.archive.links == "api" and self.api.public_url is None:
            raise ValueError("RUSHES_ARCHIVE__LINKS=api needs RUSHES_API__PUBLIC_URL, the API's address")
        if self.reconcile.quiet_s <= self.poll.deadline_s:
            raise ValueError(
                "RUSHES_RECONCILE__QUIET_S must be longer than RUSHES_POLL__DEADLINE_S: log rows come after the video"
            )
        tried_for_s = sum(self.webhooks.retry_s) * LONGEST_VARIATION
        if self.webhooks.keys and tried_for_s >= self.ledger.retention_s:
            raise ValueError(
                "RUSHES_WEBHOOKS__RETRY_S must end before RUSHES_LEDGER__RETENTION_S, when the job is deleted"
            )
        return self

    @property
    def sql_url(self) -> str:
        """The URL of the database of results."""
        if self.sql.url is not None:
            return self.sql.url.get_secret_value()
        file = str((self.state_dir / "videos.sqlite").absolute())
        try:
            return f"sqlite:///{quote(file)}"  # quoted, because the folder's name may contain ? or %
        except UnicodeEncodeError:
            raise ConfigurationError(
                "RUSHES_STATE_DIR is not valid in a URL: choose another, or set RUSHES_SQL__URL."
            ) from None

    @property
    def body_bytes(self) -> int:
        """The largest body that the API reads; a form has what surrounds the pictures of a request, too."""
        return self.queue.request_bytes * 3 // 2

    @property
    def longest_purchase_s(self) -> float:
        """Seconds that a purchase may take: longer than all time-outs of its POST."""
        upstream = self.upstream
        waiting_s = upstream.connect_timeout_s + upstream.total_timeout_s + upstream.read_timeout_s
        return waiting_s + sending_s(self.queue.request_bytes) + 15

    @property
    def longest_poll_s(self) -> float:
        """Seconds that one request to the upstream may take."""
        return self.upstream.connect_timeout_s + self.upstream.total_timeout_s

    @property
    def longest_download_s(self) -> float:
        """Seconds that a download may take; an object store adds an upload."""
        archive, probing = self.archive, 2 * PROBE_TIMEOUT_S
        transfers = 1 if archive.url is None else 2
        return CONNECT_S + transfers * archive.total_timeout_s + archive.read_timeout_s + probing + 15

    @property
    def longest_description_s(self) -> float:
        """Seconds that a description may take; with an object store it includes a copy."""
        copying = 0.0 if self.archive.url is None else self.archive.total_timeout_s
        return 2 * PREVIEW_TIMEOUT_S + copying + 30


def load(*, beside_up: bool = True) -> Settings:
    """Read the settings from the environment, `.env`, and (if `beside_up`) the file of a running `rushes up`.

    Raises:
        ConfigurationError: a variable is invalid; the message says in sentences which and why.
    """
    try:
        files = (_state_dir() / "up.env", _DOTENV) if beside_up else (_DOTENV,)
        return Settings(_env_file=files)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        lines = [_problem(problem["loc"], problem["type"], problem["msg"]) for problem in problems]
        raise ConfigurationError("The settings are invalid.\n  " + "\n  ".join(lines)) from None
    except SettingsError:  # raised only for a whole group as JSON; its message contains no value
        names = ", ".join(sorted({name for name in os.environ if name.upper() in _groups()})) or "a group in .env"
        raise ConfigurationError(
            f"{names} cannot be read: a group must be JSON. Set its members, such as {PREFIX}REDIS__URL, instead."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{_DOTENV} or up.env cannot be read: {error}") from None


def whereabouts() -> str:
    """Say where the address of Redis comes from, and what to do if it is wrong."""
    settings = load()
    folder = settings.state_dir.absolute()
    if "url" in settings.redis.model_fields_set:
        return f"Is it running (`rushes up`, whose state folder is {folder}), and is RUSHES_REDIS__URL right?"
    return (
        f"RUSHES_REDIS__URL is not set, and no `rushes up` is running with the state folder {folder}. If one runs "
        "elsewhere, go to the folder it was started in, or set RUSHES_STATE_DIR to its state folder."
    )


def variables() -> dict[str, tuple[Any, str]]:
    """Return every variable with its default and description."""
    found: dict[str, tuple[Any, str]] = {}
    for name, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, _Group):
            for inner, inner_info in info.annotation.model_fields.items():
                found[_variable((name, inner))] = (inner_info.default, inner_info.description or "")
        else:
            found[_variable((name,))] = (info.default, info.description or "")
    return found


def origins(*, beside_up: bool = True) -> dict[str, str]:
    """Return where each variable's value comes from: environment, `.env`, the file of `rushes up`, or default."""
    up = _state_dir() / "up.env"
    places: list[tuple[str, Mapping[str, str | None]]] = [
        ("environment", {name.upper(): value for name, value in os.environ.items()}),
        (str(_DOTENV), _values(_DOTENV)),
    ]
    places += [(str(up), _values(up))] if beside_up else []
    return {name: next((place for place, given in places if _is_given(name, given)), "default") for name in variables()}


def _values(file: Path) -> dict[str, str | None]:
    return {name.upper(): value for name, value in dotenv_values(file).items()}


def _is_given(name: str, given: Mapping[str, str | None]) -> bool:
    """Whether a variable has a value there, or its whole group has one as JSON."""
    return bool(given.get(name) or ("__" in name and given.get(name.rpartition("__")[0])))


def unknown_variables(environment: Mapping[str, str], also_known: frozenset[str] = frozenset()) -> dict[str, str]:
    """Find unknown RUSHES_* names in the environment, each with the nearest known name."""
    known = set(variables()) | also_known
    unknown = [name for name in environment if name.startswith(PREFIX) and name.upper() not in known]
    return {name: _nearest(name, known) for name in unknown}


def _state_dir() -> Path:
    """Return the folder of `up.env` before the settings are read, from the environment or `.env`."""
    name = f"{PREFIX}STATE_DIR"
    return Path(os.environ.get(name) or dotenv_values(_DOTENV).get(name) or DEFAULT_STATE_DIR)


def _keys(value: SecretStr) -> list[str]:
    return [key.strip() for key in value.get_secret_value().split(",")]


def _groups() -> set[str]:
    return {name.rpartition("__")[0] for name in variables() if "__" in name}


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> str:
    if not location:  # about several variables, which the message names
        return message.removeprefix("Value error, ")
    name = _variable(location)
    if kind != "extra_forbidden":
        return f"{name}: {message.removeprefix('Value error, ')}"
    nearest = _nearest(name, variables())
    return f"{name}: no setting has this name" + (f"; did you mean {nearest}?" if nearest else "")


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return the most similar name, or an empty string; the cutoff is high because all names begin alike."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.75)), "")


def _variable(location: tuple[int | str, ...]) -> str:
    return PREFIX + "__".join(str(part).upper() for part in location)
