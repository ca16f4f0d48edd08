"""The table of jobs: what a person must copy is never cut off, however narrow the terminal is."""

import io
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console

from jobs.events import LogEntry
from jobs.job import Charged, Job, Stored, VideoRequest
from jobs.ledger import new_job_id
from jobs.schedule import Eta
from jobs.states import State
from producer.cli.display import card, job_table, timeline

NOW: Final = 1_800_000_000.0
PROMPT: Final = "a paper boat in the rain, filmed from the gutter, while the street lamps go on one after the other"
MODEL: Final = "google/veo-3.1-generate-001-fast"


def a_job(state: State) -> Job:
    """A job of an hour ago that cost something."""
    return Job(
        id=new_job_id(),
        version=1,
        state=state,
        turn=4,
        model=MODEL,
        accepted_at=NOW - 3600,
        deadline_at=NOW,
        deadline_s=1000,
        finished_at=NOW - 3000 if state.is_final else None,
        polls=12,
        cost_usd=3.36,
        charged=Charged.YES,
    )


JOBS: Final = [(a_job(state), VideoRequest(MODEL, PROMPT, {})) for state in State]
TABLE: Final = job_table(JOBS, NOW, {JOBS[3][0].id: Eta(60, 90)})


def printed(width: int, *, terminal: bool = True) -> list[str]:
    """The lines of the table, in a terminal of this width."""
    out = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False)
    out.print(TABLE, crop=False)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 80, 100, 120, 160, 230, 400])
def test_ids_states_ages_costs_and_models_are_whole_at_any_width(width: int) -> None:
    """The prompt gives way."""
    lines = printed(width)

    assert len(lines) == len(JOBS) + 1
    for line, (job, _) in zip(lines[1:], JOBS, strict=True):
        assert line.startswith(job.id)
        fields = list(filter(None, map(str.strip, line.split("  "))))
        assert fields[:5] == [job.id, job.state.value, "1 h", "3.36 USD", MODEL]


@pytest.mark.parametrize("width", [110, 120, 160, 230, 400])
def test_no_line_is_wider_than_the_terminal_where_that_can_be(width: int) -> None:
    """And all the room is used for the prompt."""
    lines = printed(width)
    assert max(map(len, lines)) <= width
    assert (PROMPT in lines[1]) == (width >= 230)
    assert ("60-90 s" in lines[4]) == (width >= 160), "when it is done gives way after the prompt"


def test_a_pipe_gets_whole_fields_without_padding() -> None:
    """A script splits at the tabs."""
    heads, *lines = printed(80, terminal=False)

    assert heads.split("\t")[:3] == ["job", "state", "age"]
    fields = dict(zip(heads.split("\t"), lines[3].split("\t"), strict=True))
    assert (fields["job"], fields["state"], fields["prompt"]) == (JOBS[3][0].id, "rendering", PROMPT)


def test_a_jobs_card_and_log_cut_no_path(tmp_path: Path) -> None:
    """What is longer than the terminal is wrapped by it, so that it is copied whole; the prompt keeps its lines."""
    job = JOBS[5][0].model_copy(update={"stored": Stored("2027/01/15/job_01.mp4", 5, "ab" * 32, "video/mp4")})
    archive = str(tmp_path / ("deep/" * 20))
    entry = LogEntry(
        id="1-0",
        at=NOW,
        event="job.rendered",
        state="storing",
        turn=4,
        data={"url": f"https://cdn.example/{'x' * 200}"},
    )
    out = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None, soft_wrap=True)

    out.print(card(job, VideoRequest(MODEL, "two\nlines"), archive))
    out.print(timeline([entry]))

    assert isinstance(out.file, io.StringIO)
    lines = out.file.getvalue().splitlines()
    assert f"file      {archive}/2027/01/15/job_01.mp4" in lines
    assert lines[lines.index("prompt    two") + 1] == "          lines"
    assert lines[-1] == f"+   0.0 s  job.rendered  url=https://cdn.example/{'x' * 200}"
