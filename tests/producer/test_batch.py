"""Batch files: each row is bought once, however often the file is run, and a bad file buys nothing."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from jobs.errors import InvalidRequest
from jobs.job import Priority, VideoRequest
from jobs.states import State
from producer.batch_file import BatchRow, read_batch
from producer.cli.exits import Exit
from producer.service import Selection
from tests import steps
from tests.producer.terminal import Running
from tests.stage import Stage, eventually

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a batch file."""

    def written(name: str, text: str) -> Path:
        (tmp_path / name).write_bytes(text.encode())
        return tmp_path / name

    return written


def read(file: Path, name: str = "b") -> list[BatchRow]:
    """The rows of a file."""
    return read_batch(file, default_model="google/veo3", name=name)


def lines(*rows: dict[str, Any]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


# -- reading --------------------------------------------------------------------------------------------------------


def test_json_lines_are_read_as_they_come_from_editors_and_spreadsheets(write: Write) -> None:
    """A byte order mark, blank lines, Windows line ends, separators that JSON allows inside text."""
    text = '\ufeff{"prompt": "a", "duration": 8}\r\n\r\n  \n{"prompt": "b\u2028\x85c", "parameters": {"seed": 1}}'

    rows = read(write("b.jsonl", text))

    assert [(row.line, row.request.prompt, dict(row.request.parameters)) for row in rows] == [
        (1, "a", {"duration": 8}),
        (4, "b\u2028\x85c", {"seed": 1}),
    ]
    assert {row.request.model for row in rows} == {"google/veo3"}


def test_a_row_says_how_it_waits_for_its_purchase(write: Write) -> None:
    """The same columns as the API's fields, whatever the file is; a wrong one names its line."""
    text = "prompt,priority,not_before,queue_ttl_s\na,high,60,7200\nb,,,\n"

    first, second = (row.terms("shop") for row in read(write("b.csv", text)))

    assert (first.priority, first.due_in_s, first.queue_ttl_s) == (Priority.HIGH, 60.0, 7200.0)
    assert (second.priority, second.due_in_s, second.queue_ttl_s) == (Priority.NORMAL, 0.0, None)
    assert {first.tenant, second.tenant} == {"shop"}
    with pytest.raises(InvalidRequest, match="line 1: not_before: must be seconds from now"):
        read(write("b.jsonl", lines({"prompt": "a", "not_before": "tomorrow"})))


def test_csv_cells_become_what_the_parameter_is(write: Write) -> None:
    """CSV knows text only; an empty cell means not given, a metadata column is a label, a prompt may have lines."""
    header = "prompt,model,duration,seed,enhance_prompt,generate_audio,negative_prompt,metadata.who,key\r\n"
    body = '\ufeff{}"a, ""quoted""\nprompt",veo2,8,-7,TRUE,false,4,7,mine\r\n\r\nplain,,,,,,,,\r\n'
    rows = read(write("b.csv", body.format(header)))

    assert rows[0].request.prompt == 'a, "quoted"\nprompt'
    assert rows[0].request.model == "veo2"
    assert rows[0].request.parameters == {
        "duration": 8, "seed": -7, "enhance_prompt": True, "generate_audio": False, "negative_prompt": "4",
    }  # fmt: skip
    assert rows[0].request.metadata == {"who": "7"}
    assert rows[0].key == "batch:b:mine"
    assert (rows[1].request.prompt, dict(rows[1].request.parameters)) == ("plain", {})


def test_another_vendors_cells_are_numbers_and_booleans_where_they_read_so(write: Write) -> None:
    """Nobody here knows its parameters; the batch's own columns and labels stay text."""
    header = "model,prompt,cfg_scale,loop,version,negative_prompt,metadata.n,key\n"
    (row,) = read(write("b.csv", f"{header}kling/v2,42,0.5,TRUE,007,1,5,9\n"))
    (usual,) = read(write("c.csv", "prompt,cfg_scale\n1,0.5\n"))

    assert row.request.parameters == {"cfg_scale": 0.5, "loop": True, "version": "007", "negative_prompt": "1"}
    assert (row.request.prompt, row.request.metadata, row.key) == ("42", {"n": "5"}, "batch:b:9")
    assert (usual.request.prompt, usual.request.parameters) == ("1", {"cfg_scale": 0.5})


def test_a_whole_image_fits_into_a_cell(write: Write) -> None:
    """Python's own limit for a cell is smaller than an image in base64."""
    rows = read(write("b.csv", f"prompt,image_url\nx,{'A' * 400_000}\n"))

    assert len(rows[0].request.parameters["image_url"]) == 400_000


def test_equal_rows_have_different_keys_and_the_order_of_rows_does_not_matter(write: Write) -> None:
    """A row is identified by its request and by the number of equal rows before it."""
    first = [row.key for row in read(write("b.jsonl", lines({"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"})))]
    sorted_ = [row.key for row in read(write("b.jsonl", lines({"prompt": "a"}, {"prompt": "a"}, {"prompt": "b"})))]

    assert len(set(first)) == 3
    assert set(first) == set(sorted_)
    assert not set(first) & {row.key for row in read(write("b.jsonl", lines({"prompt": "a"})), name="other")}


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("b.jsonl", "\nnope\n", "line 2: is not JSON"),
        ("b.jsonl", "[1]\n", "line 1: must be a JSON object"),
        ("b.jsonl", '{"prompt": "a", "metadata": ["x"]}\n', "line 1: metadata: must be an object"),
        ("b.jsonl", '{"prompt": "a", "parameters": "x"}\n', "line 1: parameters: must be an object"),
        ("b.jsonl", '{"prompt": "a", "model": 5}\n', "line 1: model: must be text"),
        ("b.jsonl", '{"prompt": "a", "key": {}}\n', "line 1: key: must be text"),
        ("b.jsonl", "[" * 100_000, "line 1: is not JSON"),
        (
            "b.jsonl",
            lines({"prompt": "a", "key": 1}, {"prompt": "b", "key": "1"}),
            "line 2: key: is the key of another",
        ),
        ("b.csv", "prompt,seed\nx,1,2\n", "line 2: has more cells than the header"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(write: Write, name: str, text: str, complaint: str) -> None:
    """By its line, and by what it should be."""
    with pytest.raises(InvalidRequest, match=re.escape(complaint)):
        read(write(name, text))


# -- running --------------------------------------------------------------------------------------------------------


def test_a_bad_row_is_named_and_nothing_of_the_file_is_submitted(stage: Stage) -> None:
    """A half-submitted file helps nobody; all invalid rows are named at once, whatever is wrong with each."""
    rows = ['{"prompt": "good"}', '{"prompt": "b", "duration": 5}', "nope", '{"prompt": "", "colour": 1}']
    (stage.folder / "b.jsonl").write_text("\n".join(rows))
    ran = stage.rushes("batch", "b.jsonl")

    assert ran.returncode == Exit.INVALID
    for complaint in ("line 2: duration: must be one of", "line 3: is not JSON", "line 4: prompt", "line 4: colour"):
        assert complaint in ran.stderr
    assert "line 1" not in ran.stderr
    (stage.folder / "b.csv").write_text("prompt,duration\nx,--5\ny,eight\n")
    ran = stage.rushes("batch", "b.csv")
    assert ran.returncode == Exit.INVALID
    assert 'line 2: duration: must be one of 4, 6, 8; got "--5"' in ran.stderr
    assert 'line 3: duration: must be one of 4, 6, 8; got "eight"' in ran.stderr
    assert stage.client.dbsize() == 0


def test_a_check_says_what_a_file_may_cost_and_submits_nothing(stage: Stage) -> None:
    """As the newest purchase like its rows did, by their length."""
    steps.job_in(stage.ledger, State.RENDERING, VideoRequest("google/veo3", "a", {"duration": 8}), cost_usd=4.0)
    (stage.folder / "b.jsonl").write_text(lines({"prompt": "a", "duration": 4}, {"prompt": "b", "duration": 8}))

    ran = stage.rushes("batch", "b.jsonl", "--dry-run")

    assert ran.returncode == Exit.DONE
    said = " ".join(ran.stderr.split())
    assert "2 requests are valid. About 6.00 USD, as the newest purchases like them cost." in said
    assert "Nothing was submitted." in said
    assert sum(stage.service.counts().values()) == 1


@pytest.mark.long
def test_a_file_that_is_run_again_or_has_grown_buys_only_what_is_new(stage: Stage) -> None:
    """Counted where it costs: at the sandbox. Equal rows are two videos; a refused row is reported."""
    file = stage.folder / "jobs.jsonl"
    rows: list[dict[str, Any]] = [
        {"prompt": "a"},
        {"prompt": "a"},
        {"prompt": "b", "key": "mine", "metadata": {"n": "1"}},
    ]
    file.write_text(lines(*rows))
    with stage.worker():
        first = stage.rushes("batch", "jobs.jsonl", "-o", "videos", "--json")
        assert first.returncode == Exit.DONE, first.stderr
        assert "submitted: 3 of 3" in first.stderr
        assert "videos: 3 of 3 (3 completed)" in first.stderr
        views = [json.loads(line) for line in first.stdout.splitlines()]
        assert [view["status"] for view in views] == ["completed"] * 3
        videos = sorted((stage.folder / "videos").iterdir())
        assert [video.stem.partition("-")[0] for video in videos] == sorted(view["id"] for view in views)
        with av.open(str(videos[0])) as container:
            assert container.streams.video

        again = stage.rushes("batch", "jobs.jsonl")
        assert again.returncode == Exit.DONE
        assert "3 completed" in again.stdout
        assert len(stage.sandbox.purchases()) == 3

        file.write_text(lines({"prompt": "new"}, *reversed(rows), {"prompt": "no [sandbox: submit=400]"}))
        grown = stage.rushes("batch", "jobs.jsonl")
        assert grown.returncode == Exit.NO_VIDEO
        assert "4 completed, 1 failed" in grown.stdout
        assert "1 job ended without a video" in grown.stderr

    assert sorted(stage.sandbox.purchases().values()) == [1, 1, 1, 1]


def test_a_key_whose_row_has_changed_is_reported_with_its_line(stage: Stage) -> None:
    """The video of the first request is not what the row asks for now."""
    (stage.folder / "b.jsonl").write_text(lines({"prompt": "a", "key": "mine"}))
    assert stage.rushes("batch", "b.jsonl", "--no-wait").returncode == Exit.DONE
    (stage.folder / "b.jsonl").write_text(lines({"prompt": "x"}, {"prompt": "b", "key": "mine"}))
    ran = stage.rushes("batch", "b.jsonl", "--no-wait")

    assert ran.returncode == Exit.CONFLICT
    assert "line 2" in ran.stderr


def test_ctrl_c_ends_the_run_and_the_next_one_goes_on(stage: Stage) -> None:
    """The jobs go on by themselves; the second run finds them and submits nothing."""
    (stage.folder / "b.jsonl").write_text(lines(*({"prompt": f"boat {n}"} for n in range(5))))
    with Running.started(stage, "batch", "b.jsonl") as running:
        eventually(lambda: len(stage.ledger.unfinished()) == 5, what="five jobs in the ledger")
        # Not before it waits: Python loses a Ctrl-C that comes within a `__del__`, as of the pipeline just used.
        eventually(lambda: stage.client.info("clients")["blocked_clients"], what="the command's wait for their ends")
        running.interrupt()
        assert running.ends() == Exit.INTERRUPTED
    assert "rushes batch b.jsonl" in running.said
    assert "Traceback" not in running.said

    with stage.worker():
        second = stage.rushes("batch", "b.jsonl")

    assert "5 completed" in second.stdout
    assert sorted(stage.sandbox.purchases().values()) == [1] * 5


def test_a_run_after_the_rows_expired_ends_and_buys_nothing(stage: Stage) -> None:
    """A row's key outlives its job's row: the later run says so, instead of waiting for what is gone."""
    (stage.folder / "b.jsonl").write_text(lines({"prompt": "a"}))
    stage.rushes("batch", "b.jsonl", "--no-wait")
    job_id = stage.service.page(Selection(), limit=1).jobs[0][0].id
    stage.service.cancel(job_id)
    stage.client.delete(f"rushes:job:{job_id}", f"rushes:request:{job_id}", f"rushes:log:{job_id}")

    ran = stage.rushes("batch", "b.jsonl", timeout_s=20)

    assert ran.returncode == Exit.DONE
    assert "Jobs of an earlier run that are no longer stored: 1." in ran.stderr
    assert stage.service.counts()[State.QUEUED] == 0


def test_a_thousand_rows_are_a_thousand_jobs(stage: Stage) -> None:
    """And the second run of the file is as long as looking them up."""
    (stage.folder / "b.csv").write_text("prompt,seed\n" + "".join(f"boat,{n}\n" for n in range(1000)))

    for _ in range(2):
        ran = stage.rushes("batch", "b.csv", "--no-wait")
        assert ran.returncode == Exit.DONE
        assert "1000 queued" in ran.stdout

    assert len(stage.ledger.unfinished()) == 1000
    assert 1 <= stage.client.llen("rushes:celery:submit") <= 10  # one message calls for many
