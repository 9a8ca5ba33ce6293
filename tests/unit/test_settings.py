"""Settings and scenarios that cannot be meant are refused: field, value, remedy. DESIGN, section 4."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from typing import Any

import pytest

from peer.errors import HyperpushError, SettingError
from peer.scenario import Join, Kill, Restart, check_scenario
from peer.settings import FANOUT_MAX, AgentSettings
from wire import MESSAGE_BYTES_MAX


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("tick_s", 0.0, "give a number above 0"),
        ("tick_s", float("nan"), "give a finite number"),
        ("hyper_step_size", "auto", "give a finite number, or None (leave it open): each agent chooses"),
        ("tick_s", "0.1", "give a finite number"),
        ("tick_jitter", 1.0, "give 0 or more, and below 1"),
        ("tick_jitter", -0.1, "give 0 or more, and below 1"),
        ("fanout", 0, f"give a whole number from 1 to {FANOUT_MAX}"),
        ("fanout", FANOUT_MAX + 1, f"give a whole number from 1 to {FANOUT_MAX}"),
        ("fanout", 2.5, "give a whole number"),
        ("fanout", True, "give a finite number"),
        ("solver", "sgd", "give one of tracking, push-sum, push-sum-shares"),
        ("model_step_size", 0, "give a number above 0"),
        (
            "model_step_size",
            float("inf"),
            "give a finite number, or None (leave it open): each agent chooses",
        ),
        ("adjoint_step_size", -1.0, "give a number above 0"),
        ("local_step_size", 0.0, "give a number above 0"),
        (
            "local_step_size",
            float("nan"),
            "give a finite number, or None (leave it open): each agent chooses",
        ),
        ("momentum", 1.0, "give 0 or more, and below 1"),
        ("local_steps", 0, "give 1 to 10000 steps"),
        ("local_steps", 10_001, "give 1 to 10000 steps"),
        ("damping", -1e-9, "give 0 or a number above it"),
        ("damping", float("nan"), "give a finite number, or None (leave it open): each agent chooses"),
        ("fanout", None, "give a finite number"),
        ("hyper_step_size", -1.0, "give 0 or a number above it"),
        ("hyper_every", 0, "give a whole number of ticks, 1 or more"),
        ("block_fraction", 0.0, "give a number above 0, at most 1"),
        ("block_fraction", 1.1, "give a number above 0, at most 1"),
        ("block_bytes_max", 16383, "give 16384 to 1048576 bytes"),
        ("block_bytes_max", MESSAGE_BYTES_MAX + 1, "give 16384 to 1048576 bytes"),
        ("wire_dtype", "float16", "give one of float32, float64"),
        ("precision_tolerance", -1.0, "give 0 or a number above it"),
        ("warm_up_ticks", -1.0, "give 0 or a number above it"),
        ("epoch_warm_ups_min", -1.0, "give 0 or a number above it"),
        ("listen_ticks", -1.0, "give 0 or a number above it"),
        ("listen_s_max", 0.0, "give a number above 0"),
        ("evaluate_every", -1, "give 0 or a number above it"),
        ("evaluate_every", 1.0, "give a whole number"),
    ],
)
def test_a_setting_out_of_range_is_refused(field: str, value: Any, remedy: str) -> None:
    with pytest.raises(SettingError) as raised:
        AgentSettings(**{field: value})
    assert raised.value.field == field
    assert str(raised.value) == f"{field}: {value!r} is not possible; {remedy}"
    assert isinstance(raised.value, HyperpushError)
    assert isinstance(raised.value, ValueError)


def test_every_field_is_documented_and_checked() -> None:
    """Whatever is added must refuse at least what is no number."""
    for field in dataclasses.fields(AgentSettings):
        with pytest.raises(SettingError, match=f"^{field.name}: "):
            AgentSettings(**{field.name: object()})


def test_an_unknown_setting_stops_the_program() -> None:
    with pytest.raises(TypeError, match="momentun"):
        AgentSettings(momentun=0.5)


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        AgentSettings().fanout = 4  # type: ignore[misc]


def test_settings_as_data() -> None:
    values = AgentSettings(momentum=Fraction(1, 2), local_step_size=None).to_dict()
    assert values["momentum"] == 0.5
    assert values["local_step_size"] is None
    assert values["solver"] == "tracking"
    assert AgentSettings(**json.loads(json.dumps(values))) == AgentSettings(momentum=0.5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([Kill(3, 1.0)], "scenario[0].agent: 3 is not possible; give a number from 0 to 2"),
        ([Kill(-1, 1.0)], "scenario[0].agent: -1 is not possible"),
        ([Kill(0, -1.0)], "scenario[0].at_s: -1.0 is not possible; give virtual seconds, 0 or more"),
        ([Kill(0, 1.0), Kill(1, float("nan"))], "scenario[1].at_s: nan is not possible"),
        ([Kill(0, float("inf"))], "scenario[0].at_s: inf is not possible"),
        (
            [Kill(0, 2.0), Kill(0, 1.0)],
            "scenario[0]: Kill(agent=0, at_s=2.0) is not possible; only a running",
        ),
        (
            [Restart(0, 1.0)],
            "scenario[0]: Restart(agent=0, at_s=1.0, with_state=True) is not possible; only a",
        ),
        ([Kill(0, 1.0), Restart(0, 2.0), Restart(0, 3.0)], "scenario[2]: "),
        (
            [Join(0, 2.0), Kill(0, 1.0)],
            "scenario[1]: Kill(agent=0, at_s=1.0) is not possible; only a running",
        ),
        (
            [Join(0, 1.0), Join(0, 2.0)],
            "scenario[1]: Join(agent=0, at_s=2.0) is not possible; an agent joins",
        ),
        ([Join(0, 1.0), Kill(0, 2.0), Join(0, 3.0)], "scenario[2]: "),
    ],
)
def test_a_scenario_that_cannot_happen_is_refused(changes: list[Any], told: str) -> None:
    with pytest.raises(SettingError) as raised:
        check_scenario(changes, 3)
    assert str(raised.value).startswith(told)


def test_scenarios_that_can_happen() -> None:
    check_scenario([], 1)
    check_scenario([Restart(0, 2.0), Kill(0, 1.0), Kill(0, 3.0), Restart(0, 3.0, with_state=False)], 1)
    check_scenario([Join(1, 1.0), Kill(1, 1.0), Restart(1, 1.0), Kill(1, 5.0)], 2)
