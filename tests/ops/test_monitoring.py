"""Alarms: Prometheus accepts the rules, each fires for its trouble, and each says what to do."""

import re
from typing import Final

import pytest

from tests.monitoring import checked, known_metrics, metrics_in, promtool
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


def test_an_alarm_uses_only_metrics_that_exist() -> None:
    """A renamed metric would silence it for ever."""
    assert metrics_in(ALARMS) <= known_metrics()
