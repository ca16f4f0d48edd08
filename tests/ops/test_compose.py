"""docker-compose.yml keeps the design's promises; read as text, so that neither Docker nor a YAML parser is needed."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from config.settings import Settings, variables
from ops.flower import COLUMNS
from ops.sandbox.settings import SandboxSettings
from producer.api import DRAIN_S
from tests.stage import ROOT

COMPOSE: Final = re.sub(r"(^|[ \t])#.*", "", (ROOT / "docker-compose.yml").read_text(), flags=re.MULTILINE)
SANDBOX_ENV: Final = (ROOT / "ops/image/sandbox.env").read_text()
SECRETS: Final = {
    "REDIS_PASSWORD": "letters",
    "RUSHES_FLOWER__BASIC_AUTH": "user:password",
    "RUSHES_UPSTREAM__API_KEY": "key",
}
DECIDED_HERE: Final = {
    "RUSHES_REDIS__URL",
    "RUSHES_SQL__URL",
    "RUSHES_STATE_DIR",
    "RUSHES_ARCHIVE__DIR",
    "RUSHES_UPSTREAM__API_KEY",
    "RUSHES_FLOWER__BASIC_AUTH",
}
"""What every container gets from the file itself: places in it, and secrets that it does not need."""

READERS: Final = ("worker", "api", "cli")
"""The services that read all settings."""

docker_compose = pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not here")


def block(name: str) -> str:
    """Return the text of a service or an anchor's mapping."""
    found = re.search(rf"^(?P<indent> *){re.escape(name)}:.*\n(?:(?P=indent) .*\n|\n)*", COMPOSE, re.MULTILINE)
    assert found, f"there is no {name}"
    return found[0]


def services() -> set[str]:
    """List the services."""
    return set(
        re.findall(r"^  (\w+):", COMPOSE.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0], re.MULTILINE)
    )


def keys(name: str) -> set[str]:
    """List a service's keys."""
    return set(re.findall(r"^    ([a-z_]+):", block(name), re.MULTILINE))


def settings_named(text: str) -> set[str]:
    """Find the RUSHES_* variables in a text."""
    return set(re.findall(r"\bRUSHES_[A-Z0-9_]+\b", text))


def test_any_number_of_workers_can_run() -> None:
    """Only one worker could have a fixed name or a published port."""
    assert not keys("worker") & {"container_name", "hostname", "ports"}


def test_redis_neither_loses_nor_evicts() -> None:
    """The ledger must survive a restart and full memory."""
    command = block("redis")

    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "--maxmemory $${REDIS_MAXMEMORY}" in command
    assert "ledger:/data" in command


def test_the_redis_password_is_in_no_command_line() -> None:
    """Everyone on the machine can read command lines."""
    command = block("redis").partition("command:")[2].partition("volumes:")[0]

    assert "requirepass $$REDISCLI_AUTH" in command
    assert "--requirepass" not in command
    assert "${REDIS_PASSWORD" not in command


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_has_no_default(secret: str) -> None:
    """Without it Compose stops with an error, and no secret is in the repository."""
    used = re.findall(rf"\$\{{{secret}([^}}]*)\}}", COMPOSE)

    assert used
    assert all(rest.startswith(f":?{secret} is not set") for rest in used)


def test_flower_asks_for_a_password_and_listens_on_loopback() -> None:
    """Flower can stop workers, so it must not be public by default."""
    flower = block("flower")

    assert " FLOWER_BASIC_AUTH:" in flower
    assert " RUSHES_FLOWER__BASIC_AUTH:" in flower
    assert '"${FLOWER_PUBLISH:-127.0.0.1}:' in flower
    assert "--enable_events=False" in flower
    assert f"--tasks_columns={COLUMNS}" in flower
    assert "env_file" not in flower
    assert "*settings" not in flower
    assert "RUSHES_UPSTREAM__API_KEY" not in flower


def test_only_what_people_look_at_is_published_and_on_loopback() -> None:
    """Redis and the sandbox stay in the stack's network; the API is published through a TLS proxy."""
    published = {
        name: f"${{{name.upper()}_PUBLISH:-127.0.0.1}}:" for name in ("api", "flower", "prometheus", "grafana")
    }
    assert {name for name in services() if "ports" in keys(name)} == {*published}
    assert all(f'ports: ["{address}' in block(name) for name, address in published.items())


def test_the_api_has_time_to_drain() -> None:
    """Open requests finish before the container is killed."""
    grace = re.search(r"stop_grace_period: (\d+)s", block("api"))

    assert grace
    assert int(grace[1]) > DRAIN_S


def test_a_worker_has_time_to_finish_its_purchase() -> None:
    """An aborted POST leaves a job in doubt, which may cost a person's time."""
    grace = re.search(r"stop_grace_period: (\d+)s", block("worker"))

    assert grace
    assert int(grace[1]) >= Settings(_env_file=None).longest_purchase_s


def test_every_variable_is_one_that_is_read() -> None:
    """A misspelt variable would have no effect, silently."""
    known = set(variables()) | {f"RUSHES_SANDBOX__{name.upper()}" for name in SandboxSettings.model_fields}

    assert settings_named(COMPOSE) | settings_named(SANDBOX_ENV) <= known


def test_every_setting_of_the_file_reaches_those_who_read_settings() -> None:
    """A variable in `.env` must not be without effect, but for those that are decided here."""
    assert 'env_file: ["${ENV_FILE:-.env}"]' in block("x-settings")
    assert all("<<: [*rushes, *settings]" in block(name) for name in (*READERS, "sandbox"))
    assert set(re.findall(r"^  (RUSHES_\w+):", block("x-decided"), re.MULTILINE)) == DECIDED_HERE
    assert "environment: *decided" in block("cli")
    assert settings_named(block("worker")) == {"RUSHES_UPSTREAM__API_KEY", "RUSHES_WORKER__METRICS_LISTEN"}
    assert settings_named(block("api")) == {f"RUSHES_API__{name}" for name in ("HOST", "PORT", "AUTH")}


def test_only_a_worker_gets_the_upstreams_key() -> None:
    """Nobody else can buy, so nobody else can lose it; Flower's password is Flower's."""
    for secret in ("RUSHES_UPSTREAM__API_KEY", "RUSHES_FLOWER__BASIC_AUTH"):
        assert f'  {secret}: ""' in block("x-decided")
    assert "<<: *decided" in block("api")


def test_an_external_redis_is_set_for_every_service_that_uses_redis() -> None:
    """A service left at the stack's Redis would wait for ever."""
    elsewhere = (ROOT / "ops/image/own-redis.yml").read_text()
    users = {name for name in services() if re.search(r"\*decided|RUSHES_REDIS__URL", block(name))}

    assert {"worker", "api", "flower", "cli"} <= users
    assert set(re.findall(r"^  (\w+): \*elsewhere$", elsewhere, re.MULTILINE)) == users
    assert settings_named(elsewhere) == {"RUSHES_REDIS__URL"}


def test_the_sandbox_has_a_separate_stack() -> None:
    """Sandbox jobs must not enter the volumes of a real deployment."""
    assert re.search(r"^COMPOSE_PROJECT_NAME=rushes-sandbox$", SANDBOX_ENV, re.MULTILINE)
    assert re.search(r"^COMPOSE_PROFILES=sandbox$", SANDBOX_ENV, re.MULTILINE)
    assert re.search(r"^ENV_FILE=ops/image/sandbox.env$", SANDBOX_ENV, re.MULTILINE)
    assert all(re.search(rf"^{secret}=.", SANDBOX_ENV, re.MULTILINE) for secret in SECRETS)


def test_prometheus_scrapes_what_the_stack_serves() -> None:
    """Its configuration, the alarms and the dashboards are those of ops/monitoring."""
    scraped = (ROOT / "ops/monitoring/prometheus.yml").read_text()
    port = re.search(r"RUSHES_WORKER__METRICS_LISTEN: 0\.0\.0\.0:(\d+)", block("worker"))
    assert port
    assert f"names: [worker], type: A, port: {port[1]}" in scraped
    assert '"api:8000"' in scraped
    assert '"flower:5555"' in scraped
    assert "credentials_file: /run/rushes/metrics-key" in scraped
    assert "> /run/rushes/metrics-key" in block("prometheus")
    assert "./ops/monitoring:/etc/rushes:ro" in block("prometheus")


def test_monitoring_starts_only_when_asked_for_and_with_secrets() -> None:
    """Without the profile nobody needs its variables."""
    for name, secret in (("prometheus", "METRICS_KEY"), ("grafana", "GRAFANA_PASSWORD")):
        assert "profiles: [monitoring]" in block(name)
        assert f'"${{{secret}:-}}"' in block(name)
        assert f"{secret} is not set. Put" in block(name)


def test_no_keys_that_docker_compose_1_29_does_not_know() -> None:
    """The top level has no name and no version: one of the two Composes rejects or warns of each."""
    top = set(re.findall(r"^([a-z]\w*):", COMPOSE, re.MULTILINE))

    assert top == {"services", "volumes"}


@docker_compose
@pytest.mark.parametrize("secret", SECRETS)
def test_compose_itself_refuses_without(secret: str, tmp_path: Path) -> None:
    """The sentence names the variable."""
    given = {name: value for name, value in SECRETS.items() if name != secret}
    refused = _config(given, tmp_path)

    assert refused.returncode != 0
    assert f": {secret} is not set" in refused.stderr  # with a space: the message, not its template


@docker_compose
def test_compose_itself_hands_the_files_settings_on(tmp_path: Path) -> None:
    """Each reader gets a setting that no line here names; only a worker gets the upstream's key."""
    read = _config(SECRETS, tmp_path)
    assert read.returncode == 0, read.stderr

    environments = {
        name: re.search(rf"^  {name}:\n(?:    .*\n)+", read.stdout, re.MULTILINE) for name in (*READERS, "flower")
    }
    texts = {name: found[0] for name, found in environments.items() if found}
    assert {name for name, text in texts.items() if "RUSHES_POLL__DEADLINE_S: '77'" in _single(text)} == {*READERS}
    assert {name for name, text in texts.items() if "RUSHES_UPSTREAM__API_KEY: key" in text} == {"worker"}


def _config(environment: dict[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run `docker-compose config` with only these variables."""
    program = shutil.which("docker-compose") or ""
    given = folder / "given.env"
    given.write_text(
        "RUSHES_POLL__DEADLINE_S=77\nRUSHES_UPSTREAM__API_KEY=key\n"
        if "RUSHES_UPSTREAM__API_KEY" in environment
        else ""
    )
    return subprocess.run(
        [program, "--env-file", str(given), "-f", str(ROOT / "docker-compose.yml"), "--profile", "cli", "config"],
        env={"PATH": os.environ["PATH"], "ENV_FILE": str(given), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _single(text: str) -> str:
    """The two Composes quote differently."""
    return text.replace('"', "'")
