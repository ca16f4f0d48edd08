"""Logs: one line an event, no secret in any of them, and no prompt that passes for a log line."""

import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from config.logs import JOB_FIELDS, REDACTED, JsonFormatter, LineFormatter, SecretRedactor, configure, secrets_of
from config.settings import Settings
from jobs.events import Event
from jobs.log_fields import about
from jobs.states import State
from tests.jobs.test_moves import a_job
from tests.stage import ROOT
from worker.claimed import contained
from worker.runtime import log_event

KEY: Final = "sk-0123456789abcdef"
PASSWORD: Final = "p%40ss:w0rd"
REDIS: Final = f"redis://rushes:{PASSWORD}@redis.internal:6379/0"
BASIC: Final = "admin:correct-horse"
USUAL: Final = {"at", "level", "logger", "message", "event"}
FORGERY: Final = "00:00:00 INFO    rushes.events job.completed job=job_1"

Format = Literal["text", "json"]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Put logging back as pytest had it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


class Paper:
    """What the program writes to standard error."""

    def __init__(self, written: io.StringIO) -> None:
        self._written = written

    @property
    def text(self) -> str:
        """The whole output."""
        return self._written.getvalue()

    @property
    def lines(self) -> list[str]:
        """The output's lines."""
        return self.text.removesuffix("\n").split("\n")

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Each line's object."""
        return [json.loads(line) for line in self.lines]


def logged(form: Format, monkeypatch: pytest.MonkeyPatch, level: str = "INFO") -> Paper:
    """Configure logging as a worker does, onto paper."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    configure(
        Settings.model_validate(
            {
                "redis": {"url": REDIS},
                "upstream": {"api_key": KEY},
                "flower": {"basic_auth": BASIC},
                "log": {"format": form, "level": level},
            }
        )
    )
    return Paper(written)


BOTH: Final[list[Format]] = ["text", "json"]
log = logging.getLogger("rushes.test")


class Shy:
    """Something whose text holds a secret."""

    def __str__(self) -> str:
        return f"<key {KEY}>"


@pytest.mark.parametrize("form", BOTH)
@pytest.mark.parametrize(
    "secret", [KEY, REDIS, PASSWORD, "p@ss:w0rd", BASIC, "correct-horse"], ids=["key", "url", "pw", "pw*", "basic", "b"]
)
def test_a_secret_is_redacted_in_message_and_arguments(
    form: Format, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs are read by more people than settings."""
    paper = logged(form, monkeypatch)
    log.info("in the message: " + secret)  # noqa: G003 (so that it is in the message itself)
    log.info("as an argument: %s", secret)
    log.info("inside %(what)s", {"what": f"an address http://x?k={secret}&z"})
    log.info("inside %r", [secret, {"k": secret}])
    assert secret not in paper.text
    assert all(REDACTED in line for line in paper.lines)
    assert len(paper.lines) == 4


@pytest.mark.parametrize("form", BOTH)
def test_a_secret_is_redacted_in_whatever_turns_into_text(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries log their objects; so does a percent sign in a redacted message survive."""
    paper = logged(form, monkeypatch)
    log.info("%s is 100%% of it", Shy())
    assert f"<key {REDACTED}> is 100% of it" in paper.text
    assert KEY not in paper.text


def stumble(message: str) -> None:
    """Raise with a message of the test's own."""
    raise ValueError(message)


def fall() -> None:
    """Raise with the key in the message, from one with the password."""
    try:
        stumble(f"cannot reach {REDIS}")
    except ValueError as error:
        raise ValueError(f"401 for {KEY}") from error


@pytest.mark.parametrize("form", BOTH)
def test_a_secret_is_redacted_in_tracebacks(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    """Causes and stacks are redacted too."""
    paper = logged(form, monkeypatch)
    try:
        fall()
    except ValueError:
        log.exception("it fell", stack_info=True)
    assert "Traceback" in paper.text
    assert "401 for" in paper.text
    assert KEY not in paper.text
    assert PASSWORD not in paper.text


def test_a_secret_is_redacted_in_a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack quotes its lines of source."""
    paper = logged("json", monkeypatch)
    log.info("where?", stack_info=True)  # the key: sk-0123456789abcdef
    [line] = paper.objects
    assert f"# the key: {REDACTED}" in line["stack"]


def test_a_secret_is_redacted_in_an_events_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event's fields go beside the message, past its arguments."""
    paper = logged("json", monkeypatch)
    fields = {
        "event": "job.held",
        "error": f"bad key {KEY}",
        "raised": ValueError(KEY),
        "more": [{"url": REDIS}, (KEY,)],
        "turn": 3,
    }
    log.info("held", extra={"rushes": fields})
    [line] = paper.objects
    assert (line["error"], line["more"], line["turn"]) == (f"bad key {REDACTED}", [{"url": REDACTED}, [REDACTED]], 3)
    assert KEY not in paper.text
    assert fields["error"] == f"bad key {KEY}", "the job log's own copy is left alone"


def test_a_secret_inside_another_is_redacted_as_one() -> None:
    """Blotting the short one first would leave the rest of the long one to be read."""
    record = logging.LogRecord("n", logging.INFO, "p", 1, "abcd and abcdefgh", None, None)
    SecretRedactor(["abcd", "abcdefgh"]).filter(record)
    assert record.getMessage() == f"{REDACTED} and {REDACTED}"


def test_short_secrets_are_left_alone() -> None:
    """Redacting "a" in every line would make the log unreadable."""
    record = logging.LogRecord("n", logging.INFO, "p", 1, "a banana", None, None)
    SecretRedactor(["a", "", "ban"]).filter(record)
    assert record.getMessage() == "a banana"


def test_every_secret_of_the_settings_is_known() -> None:
    """The redactor uses this list."""
    settings = Settings.model_validate(
        {
            "redis": {"url": REDIS, "sentinel_password": "watchers-only"},
            "upstream": {"api_key": KEY},
            "flower": {"basic_auth": BASIC},
        }
    )
    known = {KEY, REDIS, PASSWORD, "p@ss:w0rd", "p%40ss%3Aw0rd", "watchers-only", BASIC, "correct-horse"}
    assert known <= set(secrets_of(settings))


@pytest.mark.parametrize("form", BOTH)
@pytest.mark.parametrize(
    ("message", "arguments"),
    [("%d and %d", (1,)), ("%d", ("x" + KEY,)), ("%(a)s", (5,)), ("no place", (KEY,)), (KEY + "%", (1,))],
)
def test_a_strangers_mistaken_log_call_hurts_nobody(
    form: Format, message: str, arguments: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library's misfitting arguments must neither stop a job nor be printed unredacted."""
    paper = logged(form, monkeypatch)
    log.info(message, *arguments)
    assert len(paper.lines) == 1
    assert KEY not in paper.text
    assert "do not fit" in paper.text


# One line a record


@pytest.mark.parametrize(
    "breaking", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1e", "\x85", "\u2028", "\u2029"], ids=ascii
)
def test_a_prompt_cannot_forge_a_log_line(breaking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The author of a prompt must not write the log: every line break that some reader obeys is escaped."""
    paper = logged("text", monkeypatch)
    log.info("prompt=%s", f"a dragon{breaking}{FORGERY}")
    assert len(paper.text.splitlines()) == 1
    assert f"a dragon{ascii(breaking)[1:-1]}{FORGERY}" in paper.text


def test_a_prompt_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escape sequences could erase the line before; tabs and letters of any script stay."""
    paper = logged("text", monkeypatch)
    log.info("prompt=%s", "\x1b[2K\x1b[1A\x08\x00\tдым 🐉 é")
    assert paper.text.endswith("prompt=\\x1b[2K\\x1b[1A\\x08\\x00\tдым 🐉 é\n")


def test_a_prompt_in_an_exception_cannot_forge_a_log_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback ends with the exception's message, breaks and all: its lines are set in."""
    paper = logged("text", monkeypatch)
    try:
        stumble(f"bad prompt\n{FORGERY}\x85{FORGERY}")
    except ValueError:
        log.exception("it fell")
    first, *rest = paper.text.splitlines()
    assert first.endswith("rushes.test it fell")
    assert rest
    assert all(line.startswith("    ") for line in rest)


def test_a_line_shows_time_level_logger_and_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """People read the columns."""
    paper = logged("text", monkeypatch)
    log.warning("it rains")
    assert paper.lines[0][8:] == " WARNING rushes.test it rains"


def test_json_is_one_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Line breaks in message and traceback do not split it."""
    paper = logged("json", monkeypatch)
    try:
        stumble(f"bad\n{FORGERY}")
    except ValueError:
        log.exception('a "dragon"\n%s\r\x1b[2K', FORGERY, extra={"rushes": {"job": "job_1", "at_all": Path("x")}})
    log.info("second")

    first, second = paper.objects
    assert first["message"] == f'a "dragon"\n{FORGERY}\r\x1b[2K job=job_1 at_all=x'
    assert first["traceback"].endswith(f"ValueError: bad\n{FORGERY}")
    assert (first["level"], first["logger"], first["job"]) == ("ERROR", "rushes.test", "job_1")
    assert set(second) == {"at", "level", "logger", "message"}


def test_an_events_field_takes_no_ones_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event with a field `message` keeps its own message."""
    paper = logged("json", monkeypatch)
    log.info("job.failed", extra={"rushes": {"event": "job.failed", "message": "no reason", "level": "high"}})
    [line] = paper.objects
    assert (line["message"], line["level"], line["event"]) == (
        "job.failed message=no reason level=high",
        "INFO",
        "job.failed",
    )


# The root logger


def test_the_level_is_the_settings_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuring twice does not log everything twice."""
    logged("text", monkeypatch)
    paper = logged("text", monkeypatch, level="WARNING")
    log.info("below the level")
    log.warning("at the level")
    assert len(paper.lines) == 1


def test_warnings_are_logged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are redacted like everything else."""
    paper = logged("json", monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(f"old key {KEY}", UserWarning, stacklevel=1)
    assert KEY not in paper.text
    assert paper.objects[0]["logger"] == "py.warnings"


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
def test_a_record_is_formatted_without_a_redactor_too(formatter: logging.Formatter) -> None:
    """Celery and tests may set a handler of their own."""
    with pytest.raises(ValueError, match="bad") as caught:
        stumble("bad")
    exc_info = (caught.type, caught.value, caught.tb)
    record = logging.LogRecord("n", logging.INFO, "p", 1, "m\n%s", ("x",), exc_info)
    assert "ValueError: bad" in formatter.format(record)


@pytest.mark.parametrize("form", ["text", "json"])
def test_each_line_about_a_job_names_it_whoever_writes_it(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's line in the middle of a step is found by the job's id, and so is one without a row at hand."""
    job, paper = a_job(State.SUBMITTING, tenant="shop", request_id="job_1-1-abcd"), logged(form, monkeypatch)
    monkeypatch.setattr(JOB_FIELDS, "worker", "celery@one.a1b2c3")
    with contained("submit", job):
        logging.getLogger("urllib3").warning("odd header")
        log_event(Event("job.submitted", job.id, job.turn + 1, {"cost_usd": 3}, job, {"request_id": "job_1-2-ef01"}))
        with about("job_2"):
            log.warning("only the id is known")
    log.warning("of no job")

    at_hand = {"job": job.id, "tenant": "shop", "account": "default", "worker": "celery@one.a1b2c3"}
    expected: list[dict[str, Any]] = [
        {**at_hand, "turn": job.turn, "request_id": "job_1-1-abcd"},
        {**at_hand, "turn": job.turn + 1, "request_id": "job_1-2-ef01", "cost_usd": 3},
        {"job": "job_2", "worker": "celery@one.a1b2c3"},
        {},
    ]
    if form == "json":
        usual = {"at", "level", "logger", "message", "event"}
        assert [
            {name: value for name, value in line.items() if name not in usual} for line in paper.objects
        ] == expected
    else:
        found = [dict(re.findall(r" (\w+)=(\S+)", line)) for line in paper.lines]
        assert found == [{name: str(value) for name, value in one.items()} for one in expected]


@pytest.mark.parametrize("package", ["config", "jobs", "worker"])
def test_no_line_names_its_job_by_hand(package: str) -> None:
    """Such a line would lack its tenant, account, turn and worker."""
    by_hand = re.compile(r"\b(job|request_id)=%|job=\{")
    assert [str(path) for path in (ROOT / package).rglob("*.py") if by_hand.search(path.read_text())] == []
