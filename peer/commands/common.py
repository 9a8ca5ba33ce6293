"""What `swarm`, `run` and `simulate` share: from options to a task, and from outcomes to files and table."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peer.admin_access import admin_access
from peer.data.scheme import Scheme
from peer.details import entry_names
from peer.options import admin_address, command_words, given_options
from peer.recorder import Recorder
from peer.sinks import extra_sinks

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from peer.admin_access import AdminAccess
    from peer.problem import BilevelProblem
    from peer.settings import AgentSettings
    from peer.tasks import Task
    from peer.until import Ending
    from wire import FaultPlan


def configuration(
    options: argparse.Namespace, settings: AgentSettings, faults: FaultPlan, end: Ending
) -> Mapping[str, Any]:
    """What was asked for and what it came to, for `config.json` and `--json`."""
    keep = (
        *("command", "agents", "shard", "task", "partition", "data_dir", "model", "samples"),
        *("personalization", "seed", "swarm", "peer"),
    )
    asked = {name: value for name in keep if (value := getattr(options, name, None)) not in (None, [])}
    asked = {name: str(value) if isinstance(value, Path | Scheme) else value for name, value in asked.items()}
    goals = [str(goal) for goal in end.goals]
    return {
        **asked,
        "until": goals,
        "settings": settings.to_dict(),
        "faults": faults.to_dict(),
        "arguments": command_words(options),
        "given": given_options(options),
    }


def make_recorder(
    options: argparse.Namespace,
    config: Mapping[str, Any],
    task: Task,
    problem: BilevelProblem[Any],
    say: Callable[[str], None],
    *,
    passed_s: float | None = None,
) -> Recorder:
    """What `--out`, `--json`, `--tensorboard` and `--mlflow` ask for; `problem` is one of the task's.

    `passed_s` as `Recorder` has it. Raises `SettingError`.
    """
    told = {**config, "hyperparameters": entry_names(problem.hyperparameters, task.class_names)}
    sinks = extra_sinks(options.tensorboard, options.mlflow)
    return Recorder(told, options.json, options.out, passed_s=passed_s, sinks=sinks, say=say)


def listening_for_people(options: argparse.Namespace) -> AdminAccess | None:
    """Where they ask, by `--admin` and what belongs to it; None: nowhere. Raises `SettingError`."""
    return admin_access(
        admin_address(options.admin),
        options.admin,
        token=options.admin_token,
        certificate=options.admin_cert,
        key=options.admin_key,
        or_a_free_port=options.found["admin"].origin == "default",
    )


@contextlib.contextmanager
def stopped_by_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C sets what is yielded, once; a second one ends the program as usual. Without an event loop."""
    stop = threading.Event()
    previous = signal.getsignal(signal.SIGINT)

    def handle(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def stopped_by_signals(stop: asyncio.Event) -> Iterator[asyncio.Event]:
    """Ctrl-C or SIGTERM sets `stop`, once; a second one ends the program as usual.

    Yields what SIGTERM sets as well: whoever sends it will not wait for long.
    """
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    in_haste = asyncio.Event()

    def handle(number: int) -> None:
        if number == signal.SIGTERM:
            in_haste.set()
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, handle, number)
    try:
        yield in_haste
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
