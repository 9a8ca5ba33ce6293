import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import BandwidthGate, FaultPlanError, parse_bandwidth
from wire.bandwidth import BITS_PER_S_MAX, BITS_PER_S_MIN, bandwidth_text


@pytest.mark.parametrize(
    ("text", "bits_per_s"),
    [("800bit", 800), ("256kbit", 256e3), (" 1.5Mbit ", 1.5e6), ("64kbyte", 512e3), ("10gbit", 1e10)],
)
def test_text_forms(text: str, bits_per_s: float) -> None:
    assert parse_bandwidth(text) == bits_per_s


@given(st.floats(BITS_PER_S_MIN, BITS_PER_S_MAX))
def test_text_is_read_as_what_it_was_made_of(bits_per_s: float) -> None:
    assert parse_bandwidth(bandwidth_text(bits_per_s)) == pytest.approx(bits_per_s, rel=1e-11)


@pytest.mark.parametrize(
    "text", ["", "256", "kbit", "-1kbit", "nanbit", "1tbit", "0bit", "1 kbit", "9" * 400 + "bit"]
)
def test_bad_text_names_itself_and_the_remedy(text: str) -> None:
    with pytest.raises(FaultPlanError, match=r"bandwidth = .*; write 256kbit, 1\.5mbit or 64kbyte"):
        parse_bandwidth(text)


def test_a_frame_keeps_the_link_busy_for_its_bits() -> None:
    gate = BandwidthGate()
    assert gate.ready_at(1e3) == -math.inf
    gate.took(125, now=10.0)
    assert gate.ready_at(1e3) == 11.0
    assert gate.ready_at(None) == 10.0
    gate.took(250, now=11.0)
    assert gate.ready_at(1e3) == 13.0


def test_a_link_that_is_widened_does_not_wait_for_what_the_narrow_one_would_have_taken() -> None:
    gate = BandwidthGate()
    gate.took(1_000_000, now=0.0)
    assert gate.ready_at(1.0) == 8e6
    assert gate.ready_at(8e6) == 1.0
