"""Alarms: Prometheus accepts the rules, each fires for its trouble, and each says what to do."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from ops.monitoring.watched import in_a_hurry
from tests.monitoring import checked, known_metrics, metrics_in, prometheus, promtool
from tests.stage import ROOT

MONITORING: Final = ROOT / "ops/monitoring"
ALARMS: Final = (MONITORING / "alarms.yml").read_text()
NAMES: Final = re.findall(r"- alert: (\w+)", ALARMS)
RUNBOOK: Final = (ROOT / "docs/how-to/alarms.md").read_text()
PARTS: Final = ("- **Means:**", "- **Look at:**", "- **Type:**", "- **Until morning?**")


@promtool
def test_prometheus_accepts_rules_and_configuration() -> None:
    """A rule that does not parse would stop Prometheus from starting."""
    assert checked("check", "rules", str(MONITORING / "alarms.yml")) == ""
    assert checked("check", "config", "--syntax-only", str(MONITORING / "prometheus.yml")) == ""


@promtool
def test_each_alarm_fires_for_its_trouble_alone_and_falls_silent() -> None:
    """By made-up series, with the real durations."""
    assert checked("test", "rules", str(MONITORING / "alarms.test.yml")) == ""


def test_each_alarm_has_such_a_test() -> None:
    """One that was never seen firing may never fire."""
    assert {*re.findall(r'alertname="(\w+)"', (MONITORING / "alarms.test.yml").read_text())} == {*NAMES}


def test_each_alarm_has_its_entry_in_the_runbook_and_each_entry_its_alarm() -> None:
    """In the same order, so that a reader finds it."""
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_says_what_it_means_what_to_look_at_what_to_type_and_whether_it_can_wait(name: str) -> None:
    """At three in the morning."""
    entry = RUNBOOK.partition(f"## {name}\n")[2].partition("\n## ")[0]
    assert [entry.count(part) for part in PARTS] == [1, 1, 1, 1]


@promtool
def test_the_drills_rules_are_rules(tmp_path: Path) -> None:
    """With durations of seconds, and every alarm in them."""
    (tmp_path / "alarms.yml").write_text(in_a_hurry(ALARMS, archive_bytes=1))
    assert checked("check", "rules", str(tmp_path / "alarms.yml")) == ""


@prometheus
@pytest.mark.long
@pytest.mark.timeout(570)
def test_each_alarm_is_fired_by_its_blow_and_falls_silent_when_it_is_mended() -> None:
    """Real Redis, worker, API, upstream and Prometheus; the output says how many seconds each took."""
    ran = subprocess.run(
        [sys.executable, "-m", "ops.monitoring.drill"],
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
        cwd=ROOT,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {*re.findall(r"^(Rushes\w+) ", ran.stdout, re.MULTILINE)} == {*NAMES}


def test_an_alarm_uses_only_metrics_that_exist() -> None:
    """A renamed metric would silence it for ever."""
    assert metrics_in(ALARMS) <= known_metrics()
