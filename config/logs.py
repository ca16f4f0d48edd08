"""Logging: one line per event, as text or JSON, with secrets redacted."""

import json
import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote, unquote

from config.repeats import Repeats
from config.settings import Settings
from jobs.log_fields import current

REDACTED = "[secret]"
SHORTEST = 4
"""Redacting shorter secrets would remove ordinary words."""
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_QUIET = dict.fromkeys(
    ("celery.worker.strategy", "celery.app.trace", "amqp", "alembic.runtime.plugins"), logging.WARNING
)


class JobFields(logging.Filter):
    """Adds to each line about a job what it says of it, and the fields of an event; `worker` is this process's name."""

    worker: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields to the record, and to its text; the record is always logged."""
        fields = {**current(), **getattr(record, "rushes", {})}
        if "job" in fields:
            fields.setdefault("worker", self.worker)
        given = {name: value for name, value in fields.items() if value is not None}
        vars(record)["rushes"] = given
        shown = [f"{name}={value}" for name, value in given.items() if name != "event"]
        if shown:
            record.msg, record.args = " ".join([_message(record), *shown]), None
        return True


JOB_FIELDS: Final = JobFields()
"""Of this process: a worker is named when its parts are built, after its log is set up."""


class SecretRedactor(logging.Filter):
    """Replaces known secrets in records, as a last defence: code must not log them at all."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        # Longest first: a secret inside a longer one must not leave its parts readable.
        self._secrets = sorted({secret for secret in secrets if len(secret) >= SHORTEST}, key=len, reverse=True)

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact message, traceback, stack and fields; the record is always logged."""
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        message = _message(record)
        if self._redacted(message) != message:
            record.msg, record.args = self._redacted(message), None
        record.exc_text = self._redacted(record.exc_text)
        record.stack_info = self._redacted(record.stack_info)
        if hasattr(record, "rushes"):
            record.rushes = self._redacted(record.rushes)
        return True

    def _redacted(self, value: Any) -> Any:
        match value:
            case str():
                for secret in self._secrets:
                    value = value.replace(secret, REDACTED)
                return value
            case dict():
                return {name: self._redacted(inner) for name, inner in value.items()}
            case list() | tuple():
                return [self._redacted(inner) for inner in value]
            case None | int() | float():
                return value
            case _:
                return self._redacted(str(value))


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Serialize time, level, logger, message and the event's fields."""
        fields: dict[str, Any] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {name: value for name, value in getattr(record, "rushes", {}).items() if name not in fields}
        if record.exc_text or record.exc_info:
            fields["traceback"] = record.exc_text or (record.exc_info and self.formatException(record.exc_info))
        if record.stack_info:
            fields["stack"] = record.stack_info
        return json.dumps(fields, default=str, ensure_ascii=False)


class LineFormatter(logging.Formatter):
    """Formats a record as one line, so that a prompt cannot forge a log line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Indent the lines after the first, such as a traceback's."""
        return "\n    ".join(map(_escaped, super().format(record).split("\n")))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        """Escape the message's line breaks; a traceback follows on separate lines."""
        return _escaped(super().formatMessage(record))


def _escaped(text: str) -> str:
    r"""Escape line ends and terminal controls: \n, \x1b, \u2028."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _message(record: logging.LogRecord) -> str:
    """Return the message; if its arguments do not fit, replace them, because logging would print them unredacted."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 (an error in a library's log call must not reach the library's caller)
        record.msg, record.args = f"{record.msg} (its arguments do not fit)", None
        return str(record.msg)


def configure(settings: Settings) -> None:
    """Log to standard error in the configured format, with secrets redacted."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log.format == "json" else LineFormatter())
    handler.addFilter(JOB_FIELDS)
    handler.addFilter(SecretRedactor(secrets_of(settings)))  # before the next: it makes every record printable
    handler.addFilter(Repeats())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log.level)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    # No line shows them, and looking them up costs time per record (logging's own advice, "Optimization").
    logging.logProcesses = logging.logMultiprocessing = False


def secrets_of(settings: Settings) -> list[str]:
    """List every secret in the settings, and the passwords inside addresses."""
    redis_url, sentinel, sql_url, key, basic, signing = (
        secret.get_secret_value() if secret else ""
        for secret in (
            settings.redis.url,
            settings.redis.sentinel_password,
            settings.sql.url,
            settings.upstream.api_key,
            settings.flower.basic_auth,
            settings.webhooks.keys,
        )
    )
    passwords = [form for url in (redis_url, sql_url) for form in _passwords(url)]
    keys = map(str.strip, signing.split(","))
    return [redis_url, sql_url, *passwords, sentinel, key, basic, basic.partition(":")[2], *keys]


def _passwords(url: str) -> tuple[str, str, str]:
    """Return the password in an address: as written, decoded, and encoded as libraries do."""
    written = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    password = unquote(written)
    return written, password, quote(password, safe="")
