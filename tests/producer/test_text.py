"""Text at the command line's borders: what files and pipes hold, and what standard output can't show."""

import codecs
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from producer.batch_file import read_batch
from producer.cli.exits import Exit
from producer.service import Selection
from producer.text import UnreadableText, decoded, text_of
from tests.producer.terminal import COMMAND
from tests.stage import Stage, a_request

PROMPT: Final = "ein Bär, 東京 🐻"
ENCODINGS: Final = {
    "utf-8": PROMPT.encode(),
    "utf-8 with a mark": codecs.BOM_UTF8 + PROMPT.encode(),
    "utf-16, little": codecs.BOM_UTF16_LE + PROMPT.encode("utf-16-le"),
    "utf-16, big": codecs.BOM_UTF16_BE + PROMPT.encode("utf-16-be"),
    "utf-32, little": codecs.BOM_UTF32_LE + PROMPT.encode("utf-32-le"),
    "utf-32, big": codecs.BOM_UTF32_BE + PROMPT.encode("utf-32-be"),
    "blanks around": b"\xef\xbb\xbf\r\n  " + PROMPT.encode() + b" \r\n",
}
UNREADABLE: Final = {
    "latin-1": "ein Bär".encode("latin-1"),
    "half a character": PROMPT.encode()[:-1],
    "a surrogate": b"\xed\xa0\x80",
    "utf-16 without a mark": "ein Boot".encode("utf-16-le"),
    "utf-16, cut": codecs.BOM_UTF16_LE + b"a",
    "a picture": b"\x89PNG\r\n\x1a\n",
    "a latin-1 file with a UTF-8 mark": codecs.BOM_UTF8 + b"B\xe4r",
}
SURROUNDINGS: Final = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "ascii, strictly": {"PYTHONIOENCODING": "ascii:strict"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "code page 437": {"PYTHONIOENCODING": "cp437"},
    "no locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def rushes(
    stage: Stage, *arguments: str | bytes, stdin: bytes = b"", around: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """The command line, in bytes."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **stage.environment, **(around or {})},
        input=stdin, capture_output=True, timeout=60, check=False, cwd=stage.folder,
    )  # fmt: skip


def prompt_of(stage: Stage, ran: "subprocess.CompletedProcess[bytes]") -> str | None:
    """The prompt that would be paid for."""
    assert ran.returncode == Exit.DONE, ran.stderr
    return stage.service.get(ran.stdout.decode().strip()).request.prompt


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_is_read_in_every_unicode_encoding_without_its_mark(encoding: str) -> None:
    """A mark that reached the upstream would be a part of the paid prompt."""
    assert decoded(ENCODINGS[encoding]).strip() == PROMPT


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_is_no_text_is_refused_in_a_sentence(what: str) -> None:
    """A guess would be paid for."""
    with pytest.raises(UnreadableText, match="save it as UTF-8"):
        decoded(UNREADABLE[what])


@pytest.mark.parametrize("text", ["a\r\nb\rc\n", "\ufeffa\nb\nc\n"])
def test_line_breaks_are_line_feeds(text: str) -> None:
    """A row's key derives from its text, which must not depend on the editor."""
    assert decoded(text.encode()) == "a\nb\nc\n"


@pytest.mark.parametrize(
    ("given", "meant"),
    [("plain", "plain"), ("B\udcc3\udca4r", "Bär"), ("\ufeffa boat", "a boat"), ("a\ufeffb", "a\ufeffb")],
)
def test_an_argument_that_the_locale_could_not_decode_is_read_as_utf_8(given: str, meant: str) -> None:
    """Python keeps its bytes as halves of characters."""
    assert text_of(given) == meant


@pytest.mark.long
def test_the_paid_prompt_has_no_mark_wherever_it_comes_from(stage: Stage) -> None:
    """File, standard input, and an argument in a locale without UTF-8."""
    (stage.folder / "prompt.txt").write_bytes(ENCODINGS["utf-8 with a mark"])
    (stage.folder / "wide.txt").write_bytes(ENCODINGS["utf-16, little"])
    ways = [
        rushes(stage, "submit", "--file", "prompt.txt"),
        rushes(stage, "submit", "--file", "wide.txt"),
        rushes(stage, "submit", stdin=ENCODINGS["utf-8 with a mark"]),
        rushes(stage, "submit", "-", stdin=ENCODINGS["utf-16, big"], around=SURROUNDINGS["ascii"]),
        rushes(stage, "submit", PROMPT.encode(), around=SURROUNDINGS["no locale"]),
    ]
    assert [prompt_of(stage, ran) for ran in ways] == [PROMPT] * 5


def test_a_prompt_that_is_no_text_is_a_usage_error_and_nothing_is_submitted(stage: Stage) -> None:
    """File, standard input, argument, label, batch file."""
    (stage.folder / "prompt.txt").write_bytes(UNREADABLE["latin-1"])
    (stage.folder / "batch.csv").write_bytes(b"prompt\nein B\xe4r\n")
    for ran in (
        rushes(stage, "submit", "--file", "prompt.txt"),
        rushes(stage, "submit", stdin=UNREADABLE["latin-1"]),
        rushes(stage, "submit", UNREADABLE["latin-1"]),
        rushes(stage, "submit", "a boat", "--metadata", b"who=B\xe4r"),
        rushes(stage, "batch", "batch.csv"),
    ):
        assert ran.returncode == Exit.USAGE, ran.stderr
        assert b"save it as UTF-8" in ran.stderr
        assert b"Traceback" not in ran.stderr
    assert stage.service.page(Selection(), limit=1).jobs == []


# -- batch files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "prompt,duration\na boat,8\n,\n",
        "prompt,duration\n,\n\n , \na boat,8\n,,,,\n",
        "prompt,duration\r\na boat,8\r\n,\r\n,\r\n",
        "\ufeffprompt,duration,\na boat,8,\n,,\n",
        'prompt,duration\n"",""\n"a boat","8"\n',
    ],
)
def test_a_row_whose_cells_are_all_empty_is_skipped(tmp_path: Path, text: str) -> None:
    """Spreadsheets leave such rows at the end."""
    (tmp_path / "b.csv").write_text(text, newline="")
    rows = read_batch(tmp_path / "b.csv", default_model="google/veo3", name="b")
    assert [(row.request.prompt, row.request.parameters) for row in rows] == [("a boat", {"duration": 8})]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8 with a mark", "utf-16", "utf-32"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_batch_file_is_the_same_in_every_encoding(tmp_path: Path, encoding: str, suffix: str) -> None:
    """Its rows have the same keys, so a file that was saved anew buys nothing twice."""
    row = json.dumps({"prompt": PROMPT}, ensure_ascii=False)
    text = f'prompt\n"{PROMPT}"\n' if suffix == "csv" else f"{row}\n"
    codec = encoding.replace(" with a mark", "-sig")
    read = []
    for name, content in (("plain", text.encode()), ("other", text.replace("\n", "\r\n").encode(codec))):
        file = tmp_path / f"{name}.{suffix}"
        file.write_bytes(content)
        read.append(read_batch(file, default_model="google/veo3", name="b"))
    assert read[0] == read[1]
    assert [row.request.prompt for row in read[1]] == [PROMPT]


# -- standard output ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("around", SURROUNDINGS)
def test_no_command_fails_for_what_standard_output_cannot_show(stage: Stage, around: str) -> None:
    """The text is replaced; JSON stays whole, in ASCII."""
    job_id = stage.service.submit(a_request(PROMPT)).job_id
    for arguments in (["get", job_id], ["list"]):
        ran = rushes(stage, *arguments, around=SURROUNDINGS[around])
        assert ran.returncode == Exit.DONE, (arguments, ran.stderr)
        assert b"ein B" in ran.stdout
    ran = rushes(stage, "list", "--json", around=SURROUNDINGS[around])
    assert json.loads(ran.stdout.decode("ascii"))["prompt"] == PROMPT


@pytest.mark.parametrize("command", [["watch"], ["events", "JOB"], ["submit", "--help"], ["doctor"], ["hooks", "list"]])
def test_nor_does_any_other_command(stage: Stage, command: list[str]) -> None:
    """They all write through the same streams."""
    job_id = stage.service.submit(a_request(PROMPT)).job_id
    ran = rushes(
        stage, *[job_id if word == "JOB" else word for word in command], around=SURROUNDINGS["ascii, strictly"]
    )
    assert ran.returncode in {Exit.DONE, Exit.FAILED}  # doctor finds no worker
    assert ran.stdout
    assert b"Traceback" not in ran.stderr


def test_json_is_readable_where_standard_output_knows_unicode(stage: Stage) -> None:
    """A person reads it too."""
    job_id = stage.service.submit(a_request(PROMPT)).job_id
    assert PROMPT in rushes(stage, "get", job_id, "--json", around={"PYTHONIOENCODING": "utf-8"}).stdout.decode()


@pytest.mark.parametrize(
    ("command", "stream"),
    [
        ("list --json", ">&-"),
        ("get JOB", ">&- 2>&-"),
        ("get JOB", "| true"),
        ("list", "| head -c 1"),
        ("doctor", "| true"),
        ("keys list", "| true"),
    ],
)
def test_a_stream_that_is_closed_is_no_failure(stage: Stage, command: str, stream: str) -> None:
    """The calling process closed it, or has gone."""
    job_id = stage.service.submit(a_request(PROMPT)).job_id
    line = " ".join([shlex.quote(sys.executable), "-m", "ops.cli", command.replace("JOB", job_id), stream])
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        env={**os.environ, **stage.environment},
        capture_output=True, text=True, check=False, timeout=60, cwd=stage.folder,
    )  # fmt: skip
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr
    assert ran.returncode == Exit.DONE or command == "doctor", ran.stderr  # doctor finds no worker
