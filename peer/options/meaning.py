"""From options in force to what the program works with."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from peer.data.choice import DataChoice
from peer.errors import SettingError
from peer.options.settings import SETTING_NAMES
from peer.settings import AgentSettings
from peer.until import LOOK_TICKS, Ending, Goal
from wire import FaultPlan
from wire.bandwidth import parse_bandwidth

if TYPE_CHECKING:
    import argparse
    from collections.abc import Container

    from peer.settings import SettingKeywords


def fault_plan(options: argparse.Namespace) -> FaultPlan:
    """The plan of the fault options; a scenario's windows are not in it."""
    bandwidth = options.bandwidth
    return FaultPlan(
        drop=options.drop,
        delay_s=options.delay,
        duplicate=options.duplicate,
        reorder=options.reorder,
        bandwidth_bits_per_s=None if bandwidth is None else parse_bandwidth(bandwidth),
        model=options.fault_model,
    )


def data_choice(options: argparse.Namespace) -> DataChoice:
    """What was chosen of a task's data and model."""
    return DataChoice(options.partition, options.data_dir, options.model, options.samples)


def agent_settings(options: argparse.Namespace, task: SettingKeywords) -> AgentSettings:
    """The task's settings, overridden by those that were given. Raises `SettingError`."""
    given = {name: value for name in SETTING_NAMES if (value := getattr(options, name)) is not None}
    return dataclasses.replace(AgentSettings(**task), tick_s=options.tick_ms / 1000.0, **given)


def ending(options: argparse.Namespace, measured: Container[str], settings: AgentSettings) -> Ending:
    """The end that was asked for; `measured`: columns of the task, without `personal` there is no accuracy.

    A number of ticks that is only the default gives way to any other goal. Raises `SettingError`.
    """
    goals: list[Goal] = list(options.until)
    for goal in goals:
        if goal.kind == "accuracy" and "personal" not in measured:
            remedy = f"task {options.task} measures no accuracy; give residual, ticks or time"
            raise SettingError("until", str(goal), remedy)
        if goal.kind == "accuracy" and settings.evaluate_every == 0:
            raise SettingError("until", str(goal), "it is never measured; give --evaluate-every above 0")
    if options.duration is not None:
        goals.append(Goal("time", options.duration))
    if options.ticks is not None and not (goals and options.found["ticks"].origin == "default"):
        goals.append(Goal("ticks", options.ticks))
    return Ending(goals, settings.evaluate_every or LOOK_TICKS)
