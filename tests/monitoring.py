"""What the tests of metrics share: a scraped text as series, and Debian's promtool."""

import re
import shutil
import subprocess
from typing import Final, TypeAlias

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.stage import ROOT

Series: TypeAlias = dict[str, float]

prometheus: Final = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not here")
promtool: Final = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here")


def series_in(text: str) -> Series:
    """Read every series of a scraped text, with its value."""
    return {
        f"{sample.name}{{{','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(address: str) -> str:
    """Scrape a worker."""
    answer = requests.get(f"http://{address}/metrics", timeout=5)
    answer.raise_for_status()
    return answer.text


def checked(*arguments: str, stdin: str = "") -> str:
    """Run promtool; return what it found, "" if all is well."""
    command = ["promtool", *arguments]
    ran = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def known_metrics() -> set[str]:
    """List the metrics of API and workers, as the reference documents them."""
    rows = re.findall(r"^\| (`rushes_.+?) \|", (ROOT / "docs/reference/metrics.md").read_text(), re.MULTILINE)
    return set(re.findall(r"\w+", " ".join(rows)))


def metrics_in(expressions: str) -> set[str]:
    """List the metrics that expressions use."""
    return {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"\brushes_\w+", expressions)}
