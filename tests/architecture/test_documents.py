"""The documents agree with the code."""

import re
from pathlib import Path
from typing import Final

import pytest

from config.settings import variables
from jobs.events import ENDS, EVENTS, SUBSCRIBABLE
from jobs.job import Hold, Reason
from jobs.queues import ROUTES
from jobs.states import EDGES, State
from ops.bench.results import Scenario
from ops.sandbox.settings import SandboxSettings
from tests.stage import ROOT

ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_the_state_diagram_is_the_transition_table() -> None:
    """A wrong diagram is worse than none."""
    drawn = set(re.findall(r"^\s+(\w+) --> (\w+)", ARCHITECTURE, re.MULTILINE))
    assert drawn == {(state.value, to.value) for state in State for to in EDGES[state]}
    ends = set(re.findall(r"^\s+(\w+) --> \[\*\]", ARCHITECTURE, re.MULTILINE))
    assert ends == {state.value for state in State if state.is_final}


def test_the_table_of_tasks_names_each_with_its_queue() -> None:
    """Producers and workers agree on these names."""
    listed = dict(re.findall(r"^\| `(rushes\.\w+)` \| `(\w+)` \|", ARCHITECTURE, re.MULTILINE))
    assert listed == {task.value: route.broker.value for task, route in ROUTES.items()}


def test_every_event_is_documented_and_no_other() -> None:
    """Users of the job log rely on that table."""
    listed = dict(
        re.findall(r"^\| `([a-z_.]+)` \| (.+) \|$", (ROOT / "docs/reference/events.md").read_text(), re.MULTILINE)
    )
    assert listed == dict(EVENTS)


def test_the_events_to_subscribe_to_are_documented() -> None:
    """What a receiver may subscribe to, and what it gets unless it asks for more."""
    table, _, text = (ROOT / "docs/reference/events.md").read_text().partition("## Which events can I subscribe to?")

    def named(after: str, until: str) -> list[str]:
        return re.findall(r"`(job\.\w+)`", text.partition(after)[2].partition(until)[0])

    left_out = named("event of this table but ", ":")
    assert {name for name in re.findall(r"^\| `(job\.\w+)`", table, re.MULTILINE) if name not in left_out} == {
        *SUBSCRIBABLE
    }
    assert named("receives the ends of jobs: ", ". ") == [*ENDS]


def test_every_reason_and_every_hold_is_documented() -> None:
    """Backends decide by them what to tell their users."""
    _, _, reasons = (ROOT / "docs/reference/errors.md").read_text().partition("`reason`")
    reasons, _, holds = reasons.partition("`hold`")
    assert set(re.findall(r"^\| `(\w+)` \|", reasons, re.MULTILINE)) == {*Reason}
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.+?) \|", holds, re.MULTILINE)))) == {*Hold}


def test_every_metric_is_documented() -> None:
    """Dashboards and alerts are built on them."""
    api, _, worker = (ROOT / "docs/reference/metrics.md").read_text().partition("## A worker's")
    for text, module in ((api, "producer/api/metrics.py"), (worker, "worker/metrics.py")):
        listed = [
            name for row in re.findall(r"^\| (`rushes_.+?) \|", text, re.MULTILINE) for name in re.findall(r"\w+", row)
        ]
        named = {*re.findall(r'"(rushes_\w+)"', (ROOT / module).read_text())}
        assert sorted(name.removesuffix("_total") for name in listed) == sorted(named)


def test_every_scenario_of_the_bench_is_documented() -> None:
    """`make bench SCENARIOS=` takes them."""
    listed = (ROOT / "docs/how-to/test.md").read_text().partition("`SCENARIOS` are ")[2].partition(".")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == {*Scenario}


def test_the_readme_is_short() -> None:
    """A newcomer reads it in ten minutes."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each link within the repository names a file that is there, and a heading in it."""
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        there = page.parent / target if target else page
        assert there.exists(), target
        assert not anchor or anchor in headings(there), f"{target}#{anchor}"


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub writes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_documents_name_only_existing_settings() -> None:
    """A variable that no code reads would mislead operators; only the changelog names those of older versions."""
    text = "".join(page.read_text() for page in PAGES if page.name != "CHANGELOG.md")
    known = {*variables(), *(f"RUSHES_SANDBOX__{name.upper()}" for name in SandboxSettings.model_fields)}
    named = set(re.findall(r"RUSHES_[A-Z_]+__[A-Z_]*[A-Z](?![A-Z_…*])|RUSHES_STATE_DIR", text))
    assert named <= known
