import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import (
    Constant,
    Delay,
    Exponential,
    FaultPlanError,
    LogNormal,
    Uniform,
    parse_delay,
    parse_duration,
)

SECONDS = st.floats(0.0, 1e6)
DELAYS = (
    st.builds(Constant, SECONDS)
    | st.tuples(SECONDS, SECONDS).map(lambda ends: Uniform(min(ends), max(ends)))
    | st.builds(Exponential, SECONDS)
    | st.builds(LogNormal, SECONDS, st.floats(0.0, 10.0))
)


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("20ms", Constant(0.02)),
        ("0.5s", Constant(0.5)),
        (" 3.s ", Constant(3.0)),
        ("250us", Constant(0.00025)),
        ("uniform:10ms:90ms", Uniform(0.01, 0.09)),
        ("exponential:50ms", Exponential(0.05)),
        ("lognormal:50ms:0.5", LogNormal(0.05, 0.5)),
    ],
)
def test_text_forms(text: str, delay: Delay) -> None:
    assert parse_delay(text) == delay


@given(DELAYS)
def test_text_round_trip(delay: Delay) -> None:
    assert parse_delay(str(delay)) == delay


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20",
        "ms",
        "-1s",
        "nans",
        "20 ms",
        "20min",
        "uniform:10ms",
        "uniform:10:90",
        "uniform:90ms:10ms",
        "gamma:1s:2",
        "exponential",
        "exponential:1s:2s",
        "lognormal:50ms",
        "lognormal:50ms:wide",
        "lognormal:50ms:-1",
        "lognormal:50ms:nan",
        "1e99s",
    ],
)
def test_bad_text_is_named_with_its_remedy(text: str) -> None:
    with pytest.raises(FaultPlanError) as caught:
        parse_delay(text)
    assert "; " in str(caught.value), "a remedy follows the semicolon"


@pytest.mark.parametrize(
    "build",
    [
        lambda: Constant(-0.1),
        lambda: Constant(float("nan")),
        lambda: Constant(float("inf")),
        lambda: Constant(True),
        lambda: Constant("20ms"),
        lambda: Uniform(0.2, 0.1),
        lambda: Uniform(-0.2, 0.1),
        lambda: Exponential(-1.0),
        lambda: LogNormal(-1.0, 1.0),
        lambda: LogNormal(1.0, 11.0),
    ],
)
def test_impossible_delays_are_refused(build: object) -> None:
    assert callable(build)
    with pytest.raises(FaultPlanError):
        build()


@pytest.mark.parametrize(
    "delay", [Constant(0.02), Uniform(0.01, 0.09), Exponential(0.05), LogNormal(0.05, 0.5)]
)
def test_draws_have_the_stated_mean_and_take_one_number_each(delay: Delay) -> None:
    rng, beside = random.Random(1), random.Random(1)
    draws = [delay.draw(rng) for _ in range(20_000)]
    for _ in draws:
        beside.random()
    assert rng.getstate() == beside.getstate()
    assert min(draws) >= 0
    assert statistics.fmean(draws) == pytest.approx(delay.mean_s, rel=0.02)


def test_lognormal_median() -> None:
    rng = random.Random(2)
    assert statistics.median(LogNormal(0.05, 1.0).draw(rng) for _ in range(20_000)) == pytest.approx(
        0.05, rel=0.03
    )


class Zero(random.Random):
    """The smallest number random() can give."""

    def random(self) -> float:
        return 0.0


@pytest.mark.parametrize("delay", [Constant(1), Uniform(1, 2), Exponential(1), LogNormal(1, 10)])
def test_the_smallest_draw_is_a_delay(delay: Delay) -> None:
    assert delay.draw(Zero()) >= 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30.0), ("500ms", 0.5), (" 2m ", 120.0), ("1.5h", 5400.0), ("250us", 0.00025), ("3m", 180.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1 s", "nans", "1d", "1e99s", "9" * 400 + "h"])
def test_a_bad_duration_names_itself_and_the_remedy(text: str) -> None:
    with pytest.raises(FaultPlanError, match=r"duration = .*; write 500ms, 30s, 2m or 1h"):
        parse_duration(text)
