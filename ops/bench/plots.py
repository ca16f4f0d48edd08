"""The plots of a run, as SVG: `python -m ops.bench.plots results.json folder`."""

import sys
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

from ops.bench.results import Results, Scenario

PLOTS: Final = (
    ("cpu_us_per_poll", "µs CPU per poll", "cpu-per-poll"),
    ("late_p99_s", "p99 lateness of polls, s", "lateness"),
    ("cpu_share", "share of the core", "share-of-core"),
)


def draw(results: Results, folder: Path) -> list[Path]:
    """Plot each figure against the jobs in flight, and polls against lateness."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "rushes"  # the same figures make the same file
    return [*(_against_load(results, *plot, folder) for plot in PLOTS), _polls_against_lateness(results, folder)]


def _against_load(results: Results, figure: str, label: str, stem: str, folder: Path) -> Path:
    import matplotlib.pyplot as plt  # noqa: PLC0415 (after the backend is chosen)

    picture, axes = plt.subplots(figsize=(7, 4.5))
    for name, about in results.contenders.items():
        found = [(jobs, results.median(figure, Scenario.FLIGHT, name, jobs=jobs)) for jobs in results.loads(name)]
        points = [(jobs, value) for jobs, value in found if value is not None]
        if points:
            _line(axes, points, about["title"], ours=name == "rushes")
    axes.set(xscale="log", yscale="log" if figure != "cpu_share" else "linear", xlabel="jobs in flight", ylabel=label)
    axes.legend(fontsize=7)
    return _saved(picture, folder / f"{stem}.svg")


def _polls_against_lateness(results: Results, folder: Path) -> Path:
    import matplotlib.pyplot as plt  # noqa: PLC0415 (after the backend is chosen)

    picture, axes = plt.subplots(figsize=(7, 4.5))
    for name, about in results.contenders.items():
        for learned in (True, False):
            polls = results.median("polls_per_video", Scenario.PACED, name, learned=learned)
            late = results.median("late_mean_s", Scenario.PACED, name, learned=learned)
            if polls is not None and late is not None:
                axes.scatter(polls, late, label=f"{about['title']}, {'learned' if learned else 'fixed 10 s'}")
    axes.set(xlabel="polls per video", ylabel="mean lateness of the video, s", xlim=(0, None), ylim=(0, None))
    if axes.collections:
        axes.legend(fontsize=7)
    return _saved(picture, folder / "polls-against-lateness.svg")


def _line(axes: Any, points: list[tuple[int, float]], label: str, *, ours: bool) -> None:
    axes.plot(*zip(*points, strict=True), marker="o", label=label, linewidth=2.5 if ours else 1)


def _saved(picture: Any, file: Path) -> Path:
    picture.tight_layout()
    picture.savefig(file, metadata={"Date": None})
    return file


if __name__ == "__main__":
    draw(Results.read(Path(sys.argv[1])), Path(sys.argv[2]))
