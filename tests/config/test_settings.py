"""What a deployment may choose: each choice is named, bounded, documented, and a sentence reports wrong ones."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from config.settings import (
    CONNECT_S,
    ConfigurationError,
    RescueSettings,
    Settings,
    load,
    unknown_variables,
    variables,
)
from ops.sandbox.settings import SandboxSettings
from tests.stage import ROOT

EXAMPLE = ROOT / ".env.example"
SECRET = "sk-live-hunter2"
UNITS = ("_s", "_bytes", "_usd", "_per_min")
UNITLESS = {
    "RUSHES_HOOKS__ATTEMPTS",
    "RUSHES_HOOKS__WIDTH",
    "RUSHES_WEBHOOKS__WIDTH",
    "RUSHES_LEDGER__DURABLE_REPLICAS",
    "RUSHES_LEDGER__STREAM_ENTRIES",
    "RUSHES_LIMITS__IN_FLIGHT",
    "RUSHES_LIMITS__TENANT_IN_FLIGHT",
    "RUSHES_WORKER__THREADS",
    "RUSHES_FLOWER__PORT",
    "RUSHES_API__PORT",
}
"""Numbers that count things, or name a port."""


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and none of the RUSHES_ variables that the tests were started with."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("RUSHES_")]:
        monkeypatch.delenv(name)


def numbers() -> Iterator[str]:
    """The variables that hold a number."""
    for name, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            for inner, inner_info in info.annotation.model_fields.items():
                if inner_info.annotation in {int, float}:
                    yield f"RUSHES_{name}__{inner}".upper()


def example() -> dict[str, str]:
    """Every variable of .env.example, with the default it gives."""
    return dict(re.findall(r"^#(RUSHES_\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def sandbox_defaults() -> dict[str, Any]:
    """The sandbox's own variables."""
    return {f"RUSHES_SANDBOX__{name.upper()}": info.default for name, info in SandboxSettings.model_fields.items()}


# -- names and documents --------------------------------------------------------------------------------------------


def test_a_number_has_its_unit_in_its_name() -> None:
    """Nobody has to look up whether 30 means seconds or milliseconds."""
    assert {name for name in numbers() if not name.lower().endswith(UNITS)} == UNITLESS


def test_every_number_has_a_bound_and_every_setting_a_reason() -> None:
    """A description for operators, a bound against slips of the keyboard."""
    assert all(reason.endswith(".") for _, reason in variables().values())
    for group in Settings.model_fields.values():
        for name, info in getattr(group.annotation, "model_fields", {}).items():
            assert info.annotation not in {int, float} or info.metadata, f"{name} has no bound"


def test_the_example_lists_every_variable_and_nothing_else() -> None:
    """It lists the variables of Rushes and of its sandbox once each, commented out, so that the defaults stand."""
    text = EXAMPLE.read_text()
    names = re.findall(r"^#?(\w+)=", text, re.MULTILINE)

    assert sorted(names) == sorted({*variables(), *sandbox_defaults()})
    assert not re.search(r"^\w+=", text, re.MULTILINE)


def test_each_variable_of_the_example_follows_its_reason() -> None:
    """The line above it is the description that the code has."""
    reasons = {name: reason for name, (_, reason) in variables().items()}
    for above, name in re.findall(r"^# (.*)\n#(RUSHES_(?!SANDBOX)\w+)=", EXAMPLE.read_text(), re.MULTILINE):
        assert above.startswith(reasons.pop(name)), name
    assert not reasons


def test_the_example_with_everything_uncommented_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its defaults are the code's, and each can be read."""
    for name, value in example().items():
        monkeypatch.setenv(name, value)

    assert dumped(Settings()) == dumped(Settings.model_construct())


def test_the_sandboxs_defaults_in_the_example_are_its_own() -> None:
    """The example leaves defaults open that depend on the machine."""
    machine = {"RUSHES_SANDBOX__RENDER_PROCESSES"}
    sandbox = {name: value for name, value in example().items() if name.startswith("RUSHES_SANDBOX__")}

    assert {name: formatted(default) for name, default in sandbox_defaults().items() if name not in machine} == {
        name: value for name, value in sandbox.items() if name not in machine
    }


def formatted(value: Any) -> str:
    """A default as .env spells it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def dumped(settings: Settings) -> dict[str, str]:
    """Every variable with its value, secrets included, paths and URLs as text."""
    found: dict[str, str] = {}
    for name in variables():
        value: Any = settings
        for part in name.removeprefix("RUSHES_").lower().split("__"):
            value = getattr(value, part)
        found[name] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return found


# -- where values come from -----------------------------------------------------------------------------------------


def test_the_environment_outranks_dotenv_outranks_a_running_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody set by hand is never overruled by what `rushes up` left behind."""
    (tmp_path / ".rushes").mkdir()
    (tmp_path / ".rushes" / "up.env").write_text(
        "RUSHES_WORKER__THREADS='2'\nRUSHES_FLOWER__PORT='2'\nRUSHES_RESCUE__EVERY_S='2'\n"
    )
    (tmp_path / ".env").write_text("RUSHES_WORKER__THREADS=3\nRUSHES_FLOWER__PORT=3\n")
    monkeypatch.setenv("RUSHES_WORKER__THREADS", "4")

    settings = load()
    assert (settings.worker.threads, settings.flower.port, settings.rescue.every_s) == (4, 3, 2)
    alone = load(beside_up=False)
    assert (alone.worker.threads, alone.flower.port, alone.rescue.every_s) == (4, 3, RescueSettings().every_s)


@pytest.mark.parametrize("where", ["environment", "dotenv"])
def test_a_stack_in_another_state_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A second terminal looks for the stack's addresses in the folder that is set."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "up.env").write_text("RUSHES_REDIS__URL='redis://127.0.0.1:1/0'\n")
    if where == "environment":
        monkeypatch.setenv("RUSHES_STATE_DIR", "elsewhere")
    else:
        (tmp_path / ".env").write_text("RUSHES_STATE_DIR=elsewhere\n")

    assert load().redis.url.get_secret_value() == "redis://127.0.0.1:1/0"


def test_one_member_of_a_group_can_be_set_without_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two underscores stand for the step into a group; the rest of it keeps its defaults."""
    monkeypatch.setenv("RUSHES_POLL__INTERVAL_S", "3.5")
    monkeypatch.setenv("rushes_poll__first_s", "7")

    assert (load().poll.interval_s, load().poll.first_s, load().poll.deadline_s) == (3.5, 7.0, 1000.0)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose and copied .env files pass `NAME=`; an empty key must not hide that there is none."""
    for name in variables():
        monkeypatch.setenv(name, "")

    assert load().upstream.api_key is None
    assert dumped(load()) == dumped(Settings.model_construct())


@pytest.mark.parametrize(
    ("text", "paths"),
    [("a.b:c", ("a.b:c",)), (" a:b , c.d:e ,", ("a:b", "c.d:e")), (" , ", ())],
)
def test_hooks_are_a_list_of_import_paths(monkeypatch: pytest.MonkeyPatch, text: str, paths: tuple[str, ...]) -> None:
    """Commas separate the paths, and blanks around them are ignored."""
    monkeypatch.setenv("RUSHES_HOOKS__CALL", text)

    assert load().hooks.call == paths


def test_the_settings_cannot_be_changed_under_a_running_process() -> None:
    """Neither the tree nor a group of it can be assigned to."""
    settings = load()
    with pytest.raises(ValidationError):
        settings.state_dir = Path("x")  # type: ignore[misc]  # the point of the test
    with pytest.raises(ValidationError):
        settings.poll.interval_s = 1  # type: ignore[misc]  # the point of the test


def test_a_purchase_may_take_longer_than_its_time_outs_can_take() -> None:
    """Its lease is renewed for that long, or a second worker would doubt a purchase that is still under way."""
    settings = load()
    upstream, archive = settings.upstream, settings.archive
    assert settings.longest_purchase_s > upstream.connect_timeout_s + upstream.total_timeout_s + upstream.read_timeout_s
    assert settings.longest_download_s > CONNECT_S + archive.total_timeout_s + archive.read_timeout_s
    assert settings.archive_dir == Path(".rushes/archive").absolute()


# -- what is wrong is reported --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("RUSHES_POLL__INTERVAL_S", "0", "greater than 0"),
        ("RUSHES_POLL__INTERVAL_S", "soon", "valid number"),
        ("RUSHES_WORKER__THREADS", "10000", "less than or equal to 512"),
        ("RUSHES_REDIS__SOCKET_TIMEOUT_S", "1", "greater than 1"),
        ("RUSHES_REDIS__URL", f"user:{SECRET}@localhost:6379", "not a Redis address"),
        ("RUSHES_REDIS__URL", f"redis://:{SECRET}@localhost:port/0", "not a Redis address"),
        ("RUSHES_REDIS__URL", f"redis://:{SECRET}@localhost/0?db=3", "the database is the path"),
        ("RUSHES_FLOWER__BASIC_AUTH", f"jürgen:{SECRET}", "write user:password, both in ASCII"),
        ("RUSHES_FLOWER__BASIC_AUTH", f"rushes:{SECRET}ß", "write user:password, both in ASCII"),
        ("RUSHES_FLOWER__BASIC_AUTH", f"rushes:pa,{SECRET}", "without a comma"),
        ("RUSHES_FLOWER__BASIC_AUTH", SECRET, "write user:password"),
        ("RUSHES_FLOWER__BASIC_AUTH", f":{SECRET}", "write user:password"),
        ("RUSHES_FLOWER__BASIC_AUTH", f"a:{SECRET}, b:{SECRET}", "write user:password"),
        ("RUSHES_UPSTREAM__BASE_URL", "api.example.com", "valid URL"),
        ("RUSHES_UPSTREAM__FAMILY", "bing", "'universal' or 'google'"),
        ("RUSHES_LOG__LEVEL", "LOUD", "'DEBUG'"),
        ("RUSHES_HOOKS__CALL", "just.a.module", "package.module:function"),
        ("RUSHES_TIME_SCALE", "0.1", "greater than or equal to 1"),
        ("RUSHES_QUEUE__HOLD_FIRST_S", "1", "no setting has this name"),
        ("RUSHES_RECONCILE__QUIET_S", "1000", "must be longer than RUSHES_POLL__DEADLINE_S"),
        ("RUSHES_WEBHOOKS__KEYS", SECRET, "32 characters or more"),
        ("RUSHES_WEBHOOKS__KEYS", f"{'k' * 32},{SECRET}", "32 characters or more"),
        ("RUSHES_WEBHOOKS__RETRY_S", "5,-1", "longer than 0"),
        ("RUSHES_WEBHOOKS__RETRY_S", "5,soon", "valid number"),
        ("RUSHES_WORKER__METRICS_LISTEN", "9464", "not an address with a port"),
        ("RUSHES_WORKER__METRICS_LISTEN", "127.0.0.1:99999", "not an address with a port"),
        ("RUSHES_WORKER__METRICS_LISTEN", "http://127.0.0.1:9464", "not an address with a port"),
        ("RUSHES_REDIS__URLL", SECRET, "did you mean RUSHES_REDIS__URL?"),
        ("RUSHES_UPSTREAM__API_KEYS", SECRET, "did you mean RUSHES_UPSTREAM__API_KEY?"),
        ("RUSHES_UPSTREAM", f'{{"api_key": "{SECRET}"', "a group must be JSON"),
    ],
)
def test_a_bad_value_stops_with_a_sentence_that_names_the_variable_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str
) -> None:
    """The sentence is all there is: the chain of causes, which a traceback would print, is cut too."""
    monkeypatch.setenv("RUSHES_UPSTREAM__API_KEY", SECRET)
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError) as stopped:
        load()

    message = str(stopped.value)
    assert variable in message
    assert complaint in message
    assert "Value error" not in message
    assert "RUSHES_:" not in message
    assert SECRET not in message
    assert stopped.value.__suppress_context__


def test_webhooks_are_not_tried_for_longer_than_their_jobs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """There would be nothing left to deliver; without a key there are no webhooks, and the retention may be short."""
    monkeypatch.setenv("RUSHES_LEDGER__RETENTION_S", "86400")
    load()
    monkeypatch.setenv("RUSHES_WEBHOOKS__KEYS", "k" * 32)
    with pytest.raises(ConfigurationError, match="RUSHES_WEBHOOKS__RETRY_S must end before"):
        load()


def test_every_bad_value_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mending them one by one would need one start each."""
    monkeypatch.setenv("RUSHES_POLL__INTERVAL_S", "0")
    monkeypatch.setenv("RUSHES_WORKER__THREADS", "0")

    with pytest.raises(ConfigurationError, match=r"(?s)RUSHES_POLL__INTERVAL_S.*RUSHES_WORKER__THREADS"):
        load()


def test_a_dotenv_that_is_no_text_is_reported(tmp_path: Path) -> None:
    """The file may have been saved in another encoding."""
    (tmp_path / ".env").write_bytes(b"RUSHES_STATE_DIR=\xff\xfe\n")

    with pytest.raises(ConfigurationError, match=r"\.env"):
        load()


def test_secrets_stay_out_of_the_settings_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printed or logged settings show stars instead."""
    monkeypatch.setenv("RUSHES_UPSTREAM__API_KEY", SECRET)
    monkeypatch.setenv("RUSHES_REDIS__URL", f"redis://:{SECRET}@localhost:6379/0")
    monkeypatch.setenv("RUSHES_FLOWER__BASIC_AUTH", f"admin:{SECRET}")

    settings = load()

    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()


def test_a_name_that_no_setting_reads_is_found_with_its_nearest() -> None:
    """A misspelt variable does nothing, silently; this is how doctor finds it."""
    environment = {
        "RUSHES_REDDIS__URL": "x",
        "RUSHES_STATEDIR": "x",
        "RUSHES_POLL__INTERVAL_S": "1",
        "rushes_log__level": "INFO",
        "RUSHES_MINE": "x",
        "RUSHES_QQQ": "x",
        "PATH": "x",
    }
    assert unknown_variables(environment, frozenset({"RUSHES_MINE"})) == {
        "RUSHES_REDDIS__URL": "RUSHES_REDIS__URL",
        "RUSHES_STATEDIR": "RUSHES_STATE_DIR",
        "RUSHES_QQQ": "",
    }


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://api.aimlapi.com", "https://api.aimlapi.com/"),
        ("https://api.aimlapi.com/v1", "https://api.aimlapi.com/"),
        ("https://api.aimlapi.com/v1/", "https://api.aimlapi.com/"),
        ("https://api.aimlapi.com/v2", "https://api.aimlapi.com/"),
        ("https://api.aimlapi.com/V2//", "https://api.aimlapi.com/"),
        ("https://api.aimlapi.com//v2", "https://api.aimlapi.com/"),
        ("https://api.aimlapi.com/v2/video/generations", "https://api.aimlapi.com/"),
        ("https://api.aimlapi.com/v2/generate/video/google/generation/", "https://api.aimlapi.com/"),
        ("https://gateway.example/aiml/v2/", "https://gateway.example/aiml"),
        ("https://gateway.example/v1/aiml", "https://gateway.example/v1/aiml"),
        ("https://gateway.example/rev2", "https://gateway.example/rev2"),
        ("https://gateway.example/v3", "https://gateway.example/v3"),
        ("http://v2:8080", "http://v2:8080/"),
    ],
)
def test_a_base_url_is_put_right(monkeypatch: pytest.MonkeyPatch, given: str, meant: str) -> None:
    """The vendor's pages show it with a version, or with the endpoint behind it."""
    monkeypatch.setenv("RUSHES_UPSTREAM__BASE_URL", given)
    assert str(load().upstream.base_url) == meant


@pytest.mark.parametrize(
    "given", ["https://x.example/?key=hunter2", "https://x.example/v2?key=hunter2", "https://x/#a"]
)
def test_a_base_url_is_an_address_alone(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """A path behind a query would be part of the query."""
    monkeypatch.setenv("RUSHES_UPSTREAM__BASE_URL", given)
    with pytest.raises(ConfigurationError, match="RUSHES_UPSTREAM__BASE_URL: contains a") as refused:
        load()
    assert "hunter2" not in str(refused.value)
