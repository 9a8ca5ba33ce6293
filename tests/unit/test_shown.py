"""What errors and lists say of values that people and strangers give."""

from __future__ import annotations

import math

import pytest

from peer.errors import SettingError, shown
from peer.fault_words import plan_lines
from peer.options import readers
from peer.settings import AgentSettings
from wire import Constant, FaultPlan, FaultWindow, LinkFaults, cut

BEYOND_FLOATS = 10**400
LONGER_THAN_PYTHON_WRITES = 10**10_000


def test_a_value_too_long_to_be_written_is_named_by_its_kind() -> None:
    assert shown("x") == "'x'"
    assert shown(LONGER_THAN_PYTHON_WRITES) == "<int too long to be shown>"


def test_a_number_beyond_all_floats_is_no_setting() -> None:
    with pytest.raises(SettingError, match="give a finite number"):
        AgentSettings(fanout=BEYOND_FLOATS)


@pytest.mark.parametrize("given", ["3.5", "x", True, 2.0, None, "9" * 10_000])
def test_what_is_no_whole_number_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="give a whole number"):
        readers.integer(given)


def test_a_plan_is_told_by_what_is_in_force_now_and_later() -> None:
    plan = FaultPlan(
        delay_s=Constant(0.0),
        links={("a", "b"): LinkFaults(drop=0.5)},
        windows=(
            cut("a", "b", 0.0, 5.0),
            FaultWindow(30.0, math.inf, LinkFaults(duplicate=0.1), targets=("c", "d")),
        ),
    )
    live = (FaultWindow(8.0, 20.0, LinkFaults(delay_s=0.02)),)
    assert plan_lines(plan, live, 10.0) == [
        "all links: no faults",
        "a -> b: drop 0.5",
        "from 30 s, all -> c d: duplicate 0.1",
        "now until 20 s, all links: delay 0.02s (set while it runs)",
    ]


def test_an_error_is_one_line_whatever_it_is_about() -> None:
    assert str(SettingError("a\nb", "é\x1b", "give\tanother")) == (
        r"a\nb: 'é\x1b' is not possible; give\tanother"
    )
