"""Logging: one line per event, for people or for machines, with every secret redacted."""

import json
import logging
import re
import sys
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

from config.settings import Settings

BLOT = "[secret]"
SHORTEST = 4
"""Redacting shorter secrets would blot out ordinary words."""
_STEERING = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_QUIET = {"celery.worker.strategy": logging.WARNING, "celery.app.trace": logging.WARNING, "amqp": logging.WARNING}


class SecretBlotter(logging.Filter):
    """Replaces known secrets in whatever is about to be written: the last net, not the first."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        # The longest first: a secret inside another one must not tear it into recognizable halves.
        self._secrets = sorted({secret for secret in secrets if len(secret) >= SHORTEST}, key=len, reverse=True)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record if it holds a secret, in its traceback and its event too; always let it through."""
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        message = _message(record)
        if self._blotted(message) != message:
            record.msg, record.args = self._blotted(message), None
        record.exc_text = self._blotted(record.exc_text)
        record.stack_info = self._blotted(record.stack_info)
        if hasattr(record, "event"):
            record.event = self._blotted(record.event)
        return True

    def _blotted(self, value: Any) -> Any:
        match value:
            case str():
                for secret in self._secrets:
                    value = value.replace(secret, BLOT)
                return value
            case dict():
                return {name: self._blotted(held) for name, held in value.items()}
            case list() | tuple():
                return [self._blotted(held) for held in value]
            case _:
                return value


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger and message; an event's fields stand beside them."""
        told: dict[str, Any] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {name: value for name, value in getattr(record, "event", {}).items() if name not in told}
        if record.exc_text or record.exc_info:
            told["traceback"] = record.exc_text or (record.exc_info and self.formatException(record.exc_info))
        if record.stack_info:
            told["stack"] = record.stack_info
        return json.dumps(told, default=str, ensure_ascii=False)


class LineFormatter(logging.Formatter):
    """One line a record, whatever the message holds: a prompt must not be able to forge a log line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Indent what follows the first line: a traceback quotes its exception's message, line breaks and all."""
        return "\n    ".join(map(_escaped, super().format(record).split("\n")))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        """Escape the message's line breaks; a traceback follows it on lines of its own."""
        return _escaped(super().formatMessage(record))


def _escaped(text: str) -> str:
    r"""Whatever ends a line or steers a terminal, escaped: \n, \x1b, \u2028."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _message(record: logging.LogRecord) -> str:
    """The record's message; one whose arguments do not fit it is mended, as logging would print it unblotted."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 (whatever a stranger's log call raises must not reach the stranger's caller)
        record.msg, record.args = f"{record.msg} (its arguments do not fit)", None
        return str(record.msg)


def configure(settings: Settings) -> None:
    """Send the root logger to standard error in the chosen format, secrets redacted."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log.format == "json" else LineFormatter())
    handler.addFilter(SecretBlotter(secrets_of(settings)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log.level)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    # No line names them, and they would be asked for each one (logging's own advice, "Optimization").
    logging.logProcesses = logging.logMultiprocessing = False


def secrets_of(settings: Settings) -> list[str]:
    """Every secret that the settings hold, and the passwords inside addresses and Flower's."""
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
    passwords = [spelling for url in (redis_url, sql_url) for spelling in _passwords(url)]
    keys = map(str.strip, signing.split(","))
    return [redis_url, sql_url, *passwords, sentinel, key, basic, basic.partition(":")[2], *keys]


def _passwords(url: str) -> tuple[str, str, str]:
    """The password inside an address: as written there, as it is, and as a library may write it anew."""
    written = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    password = unquote(written)
    return written, password, quote(password, safe="")
