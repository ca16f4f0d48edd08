"""A histogram that takes a batch of values at once: a thousand polls a second would feel prometheus_client's own."""

import math
import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class BatchHistogram(Collector):
    """A histogram with labels, each combination of which is named when it is made."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        series: Iterable[tuple[str, ...]],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        """Register it; `buckets` are upper bounds in ascending order."""
        self._describe = (name, documentation, tuple(labels))
        self._bounds: Final = tuple(buckets)
        self._names = [*map(floatToGoString, buckets), "+Inf"]
        self._counts = {values: [0] * len(self._names) for values in series}
        self._sums = dict.fromkeys(self._counts, 0.0)
        self._highest: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()
        registry.register(self)

    def observe(self, series: tuple[str, ...], values: Sequence[float]) -> None:
        """Add the values to one series."""
        bounds, counts = self._bounds, self._counts[series]
        with self._lock:
            for value in values:
                counts[bisect_left(bounds, value)] += 1
            self._sums[series] += sum(values)
            self._highest[series] = max(self._highest.get(series, -math.inf), *values)

    def take_highest(self, series: tuple[str, ...]) -> float | None:
        """Return the highest value of a series since the last call; None: there was none."""
        with self._lock:
            return self._highest.pop(series, None)

    def describe(self) -> Iterable[Metric]:
        """Name the metric."""
        return [HistogramMetricFamily(self._describe[0], self._describe[1], labels=self._describe[2])]

    def collect(self) -> Iterable[Metric]:
        """Return all series."""
        name, documentation, labels = self._describe
        family = HistogramMetricFamily(name, documentation, labels=labels)
        with self._lock:
            for series, counts in self._counts.items():
                buckets = list(zip(self._names, map(float, accumulate(counts)), strict=True))
                family.add_metric(series, buckets, self._sums[series])
        return [family]
