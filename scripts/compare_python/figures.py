"""
Medians, bars, and the lines of the table.

Not here: how a figure is measured (`rows`).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from compare_python.arms import TITLES


@dataclass
class Line:
    """One line of the table."""

    what: str
    # By server; what is said of it, with its unit in `what`.
    figures: Mapping[str, str]
    bar: str = ""
    # What was found, against the bar; empty where there is none.
    found: str = ""
    is_met: bool | None = None
    seconds: float = field(default=0.0, init=False)

    def markdown(self) -> str:
        """As a line of a Markdown table."""
        verdict = {None: "", True: "met", False: "**missed**"}[self.is_met]
        cells = [self.what, *(self.figures.get(server, "") for server in TITLES)]
        seconds = f"{self.seconds:.0f}" if self.seconds else ""
        return "| " + " | ".join([*cells, self.bar, self.found, verdict, seconds]) + " |"


def head() -> str:
    """The table's first two lines."""
    titles = ["", *TITLES.values(), "bar", "found", "", "s"]
    return "| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|"


def median(values: Sequence[float]) -> float:
    """Of the runs."""
    return statistics.median(values)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios of neighbours in time: what drifts takes from both."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def short(value: float) -> str:
    """Three digits, and thousands as such."""
    if value >= 10_000:
        return f"{value / 1000:.1f} k"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"
