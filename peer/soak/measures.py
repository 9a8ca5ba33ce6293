"""What a soak measures, how fast each number grows, and whether that is still flat.

A straight line is laid through the samples by least squares, a warm-up left out: the first tenth, and more if
tables take longer to fill. A row grows if the line rises by more than is allowed, and by more than chance
explains: RANDOM standard errors. A number that wanders stays for a while where it came to: the more alike its
distances from the line are from sample to sample, the fewer samples count. What spans orders of magnitude
(errors, sums) is judged by its logarithm.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WARM_UP = 0.1  # share of the work
SAMPLES_MIN = 8  # after the warm-up; fewer say nothing
RANDOM = 4.0  # standard errors
CORRELATION_MAX = 0.98  # a hundred samples in which nothing else is to be seen count as one
TINY = 1e-300  # takes the place of 0 in logarithms


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is to stay as it is.

    `share` and `beyond`: what it may grow by over the run, of its mean and beside that, in its own unit; in
    decades if `decades`. `falling`: to fall is what is wrong. `limit`: no more than this in the median.
    """

    name: str
    share: float = 0.0
    beyond: float = 0.0
    decades: bool = False
    falling: bool = False
    limit: float = math.inf

    def bound(self) -> str:
        """For people."""
        word = "fall" if self.falling else "growth"
        if self.decades:
            parts = [f"{word} x{10**self.beyond:.2g}"]
        else:
            amounts = [f"{self.share:.0%}"] * (self.share > 0) + [f"{self.beyond:g}"] * (self.beyond > 0)
            parts = [f"{word} {' + '.join(amounts)}"]
        return ", ".join(parts + [f"at most {self.limit:g}"] * (self.limit < math.inf))


MEMORY, BLOCKS = Row("resident memory, MB", 0.02, 2.0), Row("allocated blocks", 0.01, 200.0)
DESCRIPTORS, THREADS = Row("open descriptors", 0.0, 2.0), Row("threads", 0.0, 2.0)
LARGEST_SUM, SPACING = (
    Row("largest running sum", beyond=0.3, decades=True),
    Row("its spacing on the wire", beyond=0.3, decades=True, limit=1e-4),
)
ERROR = Row("relative error", beyond=0.3, decades=True, limit=1e-5)
SPEED = Row("agent-ticks per core-second", 0.1, falling=True)
PACE = Row("agent-ticks per second", 0.1, falling=True)
TABLES = {  # name in the census: what people read
    "Liveness.lives": Row("peers remembered", 0.02, 2.0),
    "Membership._contacts": Row("contacts", 0.02, 2.0),
    "Inbox._slots": Row("messages waiting", 0.05, 2.0),
    "Inbox.links": Row("links counted", 0.05, 2.0),
}
OTHER_TABLE = (0.05, 8.0)  # share and beyond, of any other table; it is shown only if it grows


@dataclass(frozen=True, slots=True)
class Line:
    """y = ... + slope x, and the standard error of the slope."""

    slope: float
    error: float


def straight_line(xs: Sequence[float], ys: Sequence[float]) -> Line:
    """By least squares, through three points or more that do not all have one x.

    The standard error is that of n (1 - r) / (1 + r) samples, for a correlation r of neighbouring distances:
    so many independent ones tell as much as n of a first-order autoregressive series.
    """
    count = len(xs)
    x_mean, y_mean = math.fsum(xs) / count, math.fsum(ys) / count
    spread = math.fsum((x - x_mean) ** 2 for x in xs)
    slope = math.fsum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    distances = [y - y_mean - slope * (x - x_mean) for x, y in zip(xs, ys, strict=True)]
    rest = math.fsum(distance**2 for distance in distances)
    alike = math.fsum(one * next_ for one, next_ in itertools.pairwise(distances)) / rest if rest else 0.0
    correlation = min(max(alike, 0.0), CORRELATION_MAX)
    few = (1.0 + correlation) / (1.0 - correlation)
    return Line(slope, math.sqrt(rest / (count - 2) / spread * few))


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one row."""

    row: Row
    first: float  # after the warm-up
    last: float
    slope: float  # per unit of work; decades for a row of decades
    verdict: str  # empty: flat


def judge(row: Row, xs: Sequence[float], ys: Sequence[float]) -> Finding:
    """Of samples without their warm-up, SAMPLES_MIN of them or more."""
    seen = [math.log10(max(y, TINY)) for y in ys] if row.decades else ys
    line = straight_line(xs, seen)
    span = xs[-1] - xs[0]
    growth = line.slope * span * (-1.0 if row.falling else 1.0)
    allowed = row.beyond if row.decades else row.beyond + row.share * abs(math.fsum(ys) / len(ys))
    median = sorted(ys)[len(ys) // 2]
    verdict = ""
    if growth > allowed and growth > RANDOM * line.error * span:
        verdict = "falls" if row.falling else "grows"
    elif not median <= row.limit:
        verdict = f"too large: {median:.1e} in the median"
    return Finding(row, ys[0], ys[-1], line.slope, verdict)


class Samples:
    """All that was sampled, in arrays, so that sampling itself allocates next to nothing.

    `work` rises from sample to sample: million agent-ticks, or hours. The first `filling` samples are of the
    warm-up.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.work = array("d")
        self.filling = 0
        self._rows = {row.name: row for row in rows}
        self._values = {name: array("d") for name in self._rows}
        self._tables: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))

    def add(self, work: float, values: Mapping[str, float], tables: Mapping[str, int]) -> None:
        """One sample: a value for every row, and entries by the name of the table."""
        for name in tables:
            missing = len(self.work) - len(self._tables[name])
            self._tables[name].extend([0.0] * missing)  # it was empty so far
        self.work.append(work)
        for name in self._rows:
            self._values[name].append(values[name])
        for name, entries in self._tables.items():
            entries.append(float(tables.get(name, 0)))

    def values(self, row: Row) -> Sequence[float]:
        """Of all samples."""
        return self._values[row.name]

    def findings(self) -> list[Finding]:
        """Of every row and of the tables that people should see; none if there are too few samples."""
        warm_up = WARM_UP * max(self.work, default=0.0)
        begin = max(self.filling, sum(work < warm_up for work in self.work))
        xs = self.work[begin:]
        if len(xs) < SAMPLES_MIN:
            return []
        found = [judge(row, xs, self._values[name][begin:]) for name, row in self._rows.items()]
        for name, entries in sorted(self._tables.items()):
            row = TABLES.get(name)
            finding = judge(row or Row(f"entries of {name}", *OTHER_TABLE), xs, entries[begin:])
            if row is not None or finding.verdict:
                found.append(finding)
        return found


def told(findings: Sequence[Finding]) -> Iterator[tuple[str, ...]]:
    """Cells of a table: what, first, last, slope, bound, verdict."""
    for finding in findings:
        row = finding.row
        form = ".2e" if row.decades else ",.6g"
        slope = f"{finding.slope:+.3g}" + (" decades" if row.decades else "")
        yield (
            *(row.name, format(finding.first, form), format(finding.last, form), slope, row.bound()),
            finding.verdict or "flat",
        )


def float32_spacing(number: float) -> float:
    """Distance from this number to the next one that the wire can tell, if it carries float32."""
    return math.ldexp(1.0, max(math.frexp(number)[1] - 24, -149) if number else -149)
