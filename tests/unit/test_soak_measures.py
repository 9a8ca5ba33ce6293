"""Slopes and verdicts of a soak: what is planted is found, what only trembles is not."""

from __future__ import annotations

import math
import random

import pytest

from peer.soak.measures import (
    BLOCKS,
    ERROR,
    OTHER_TABLE,
    SPACING,
    SPEED,
    Finding,
    Row,
    Samples,
    float32_spacing,
    judge,
    straight_line,
    told,
)

XS = [0.1 * number for number in range(1, 101)]


def noise(of: float) -> list[float]:
    rng = random.Random("soak")
    return [rng.gauss(0.0, of) for _ in XS]


def judged(row: Row, ys: list[float]) -> str:
    return judge(row, XS, ys).verdict


def test_the_line_is_that_of_least_squares() -> None:
    line = straight_line([0.0, 1.0, 2.0], [1.0, 3.0, 5.0])
    assert (line.slope, line.error) == (2.0, 0.0)
    line = straight_line([0.0, 1.0, 2.0], [0.0, 3.0, 0.0])
    assert line.slope == 0.0
    assert line.error == pytest.approx(math.sqrt(6.0 / 1 / 2)), "neighbours are on opposite sides"
    line = straight_line([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 1.0, 0.0])
    assert line.slope == 0.0
    assert line.error == pytest.approx(math.sqrt(1.0 / 2 / 5)), (
        "distances -1/2, 1/2, 1/2, -1/2: r = -1/4, as 0"
    )


def test_a_planted_leak_is_found() -> None:
    """Two objects in each of ten thousand agent-ticks: less than the noise from sample to sample."""
    steady = [300_000.0 + wrong for wrong in noise(of=1_000.0)]
    assert not judged(BLOCKS, steady)
    leaking = [y + 2.0 * 100 * x * 10 for x, y in zip(XS, steady, strict=True)]
    found = judge(BLOCKS, XS, leaking)
    assert found.verdict == "grows"
    assert found.slope == pytest.approx(2_000.0, rel=0.1)
    assert (found.first, found.last) == (leaking[0], leaking[-1])


# Peers known by hearsay alone, of fifty agents in ten million agent-ticks: another number after each restart.
WANDERED = (
    *(108, *[118] * 4, *[103] * 4, *[97] * 4, *[84] * 4, *[80] * 8, *[78] * 4, *[74] * 4, *[73] * 4),
    *(*[88] * 4, *[86] * 4, *[88] * 4, *[98] * 4, *[101] * 4, *[104] * 4, *[96] * 4, *[92] * 4, *[98] * 4),
    *(*[102] * 4, *[89] * 8, *[102] * 4, *[109] * 4, *[106] * 5),
)


def test_what_wanders_does_not_grow() -> None:
    """Found by a soak: the table was said to grow, by as much as it had shrunk before."""
    row = Row("entries", *OTHER_TABLE)
    later = list(map(float, WANDERED[7:]))
    xs = [0.1 * number for number in range(len(later))]
    assert not judge(row, xs, later).verdict
    assert judge(row, xs, [y + 8.0 * x for x, y in zip(xs, later, strict=True)]).verdict == "grows"


def test_a_planted_slowing_is_found() -> None:
    steady = [1_500.0 + wrong for wrong in noise(of=100.0)]
    assert not judged(SPEED, steady)
    assert judged(SPEED, [y - 25.0 * x for x, y in zip(XS, steady, strict=True)]) == "falls"
    assert not judged(SPEED, [y + 25.0 * x for x, y in zip(XS, steady, strict=True)]), "it gets faster"


def test_what_chance_explains_is_no_growth() -> None:
    """A single outlier at the end lifts the line, but proves nothing."""
    assert not judged(BLOCKS, [1_000.0] * 99 + [10_000.0])


def test_errors_are_judged_by_their_magnitude() -> None:
    flat = [1e-7 * 10**wrong for wrong in noise(of=0.5)]
    assert not judged(ERROR, flat)
    assert judged(ERROR, [y * 10 ** (0.3 * x) for x, y in zip(XS, flat, strict=True)]) == "grows"
    assert judged(ERROR, [1e-3] * 100) == "too large: 1.0e-03 in the median"
    assert judged(ERROR, [math.nan] * 100).startswith("too large"), "it is no number"
    assert not judged(ERROR, [0.0] * 100)


def test_a_table_that_grows_is_named() -> None:
    samples = Samples([ERROR])
    for number in range(1, 31):
        tables = {"Inbox.links": 9, "Liveness.lives": 8, "Agent.steady": 4}
        if number > 15:
            tables["Agent.hoard"] = 10 * number
        samples.add(number / 10, {"relative error": 1e-9, "not asked for": 1.0}, tables)
    found = {finding.row.name: finding.verdict for finding in samples.findings()}
    assert found == {
        "relative error": "",
        "links counted": "",
        "peers remembered": "",
        "entries of Agent.hoard": "grows",
    }


def test_samples_are_kept_in_order() -> None:
    samples = Samples([ERROR])
    for work, error in ((1.0, 0.5), (2.0, 0.25)):
        samples.add(work, {"relative error": error}, {})
    assert list(samples.values(ERROR)) == [0.5, 0.25]


def test_the_warm_up_is_left_out() -> None:
    for filling, first in ((0, 1.0), (19, 2.0)):
        samples = Samples([ERROR])
        samples.filling = filling
        for number in range(1, 101):
            samples.add(number / 10, {"relative error": 10.0 ** -(number // 10)}, {})
        assert [finding.first for finding in samples.findings()] == [10.0**-first]


def test_few_samples_say_nothing() -> None:
    samples = Samples([ERROR])
    assert samples.findings() == []
    for number in range(1, 8):
        samples.add(number, {"relative error": 1e-9}, {})
    assert samples.findings() == []


def test_a_finding_is_told() -> None:
    rows = list(
        told([Finding(SPACING, 1e-9, 2e-9, 0.1, ""), Finding(Row("fish", 0.02, 3.0), 1.0, 9.0, 8.0, "grows")])
    )
    assert rows == [
        (
            *("its spacing on the wire", "1.00e-09", "2.00e-09", "+0.1 decades"),
            *("growth x2, at most 0.0001", "flat"),
        ),
        ("fish", "1", "9", "+8", "growth 2% + 3", "grows"),
    ]
    assert SPEED.bound() == "fall 10%"


def test_spacing_is_that_of_the_wire() -> None:
    assert float32_spacing(1.0) == 2.0**-23
    assert float32_spacing(36.0) == 2.0**-18
    assert float32_spacing(0.0) == 2.0**-149
    assert float32_spacing(1e-45) == 2.0**-149
