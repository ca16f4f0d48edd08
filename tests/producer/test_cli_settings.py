"""`rushes config` and `rushes open`: what applies here, and where the page is."""

import json
from pathlib import Path

import pytest

from config.settings import variables
from producer.cli.exits import Exit
from tests.stage import Stage, a_request

SECRETS = {
    "RUSHES_REDIS__URL": "redis://ann:hunter2@127.0.0.1:{port}/0",
    "RUSHES_UPSTREAM__API_KEY": "key-hunter2",
    "RUSHES_UPSTREAM__BASE_URL": "https://ann:hunter2@upstream.example",
    "RUSHES_SQL__URL": "postgresql://ann:hunter2@db/videos",
    "RUSHES_WEBHOOKS__KEYS": "hunter2" * 8,
    "RUSHES_FLOWER__BASIC_AUTH": "ann:hunter2hunter2",
}


def test_each_setting_is_shown_with_its_source(stage: Stage) -> None:
    """The first place that sets it wins, as when they are read."""
    stage.environment["RUSHES_API__PORT"] = "8001"
    (stage.folder / ".env").write_text("RUSHES_API__PORT=8002\nRUSHES_LOG__LEVEL=DEBUG\nRUSHES_SQL__URL=\n")
    up = Path(stage.environment["RUSHES_STATE_DIR"]) / "up.env"
    up.parent.mkdir()
    up.write_text("RUSHES_LOG__LEVEL=ERROR\nRUSHES_FLOWER__PORT=5999\n")

    ran = stage.rushes("config", "--json")

    found = {each["name"]: (each["value"], each["from"]) for each in map(json.loads, ran.stdout.splitlines())}
    assert set(found) == set(variables())
    assert found["RUSHES_API__PORT"] == (8001, "environment")
    assert found["RUSHES_LOG__LEVEL"] == ("DEBUG", ".env")
    assert found["RUSHES_FLOWER__PORT"] == (5999, str(up))
    assert found["RUSHES_SQL__URL"] == (None, "default")
    changed = stage.rushes("config", "--changed").stdout
    assert "RUSHES_API__PORT=8001  # environment\n" in changed
    assert "RUSHES_API__HOST" not in changed


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_secret_is_shown(stage: Stage, options: list[str]) -> None:
    """Somebody pastes it into a chat."""
    stage.environment |= SECRETS
    stage.environment["RUSHES_REDIS__URL"] = SECRETS["RUSHES_REDIS__URL"].format(port=6390)

    ran = stage.rushes("config", *options)

    assert ran.returncode == Exit.DONE, ran.stderr
    assert "hunter2" not in ran.stdout + ran.stderr
    assert "redis://127.0.0.1:6390/0" in ran.stdout
    assert "upstream.example" in ran.stdout


def test_the_page_of_a_job_is_opened_and_its_address_printed(stage: Stage) -> None:
    """Where there is no browser the address is all there is."""
    job_id = stage.ledger.accept(a_request()).job_id
    asked = stage.folder / "asked"
    browser = stage.folder / "browser"
    browser.write_text(f"#!/bin/sh\necho $1 > {asked}\n")
    browser.chmod(0o700)
    stage.environment |= {"RUSHES_API__PORT": "8123", "DISPLAY": "", "WAYLAND_DISPLAY": "", "BROWSER": ""}

    alone = stage.rushes("open", job_id)
    assert (alone.returncode, alone.stdout) == (Exit.DONE, f"http://127.0.0.1:8123/jobs/{job_id}\n")
    stage.environment |= {"BROWSER": str(browser), "RUSHES_API__PUBLIC_URL": "https://rushes.example/"}
    assert stage.rushes("open").stdout == "https://rushes.example/\n"
    assert asked.read_text() == "https://rushes.example/\n"
    assert stage.rushes("open", "job_unknown").returncode == Exit.UNKNOWN_JOB
