"""Where the numbers of a run go while it learns: `metrics.jsonl`, TensorBoard, MLflow. One interface for all.

    views, once a second --> Recorder --> every Sink          numbers_of: the same numbers for all of them

A sink is given everything by one thread, which also runs the agents: it must not wait for anything.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, Protocol

from peer.errors import SettingError
from peer.jsonable import jsonable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from peer.outcome import Outcome
    from peer.views import AgentView

_MEASURED: Final = (
    *("training_loss", "validation_loss", "shared", "personal", "hypergradient_norm", "residual"),
    *("hyper_rate", "epoch"),
)
_COUNTED: Final = (
    *("sent", "replaced", "unsent", "received", "gaps", "stale", "lost_by_faults", "bytes_sent"),
)


class Sink(Protocol):
    """Takes what a run measures. `at_s` are seconds since it began, virtual ones of a simulation."""

    def record(self, at_s: float, views: Sequence[AgentView]) -> None:
        """Take the agents' numbers at one time; never before an earlier one. May raise OSError."""

    def finish(self, outcome: Outcome) -> None:
        """Take the results; nothing is recorded after them. Not called if there are none."""

    def close(self) -> str | None:
        """Write what is left and free what is held; a line for people if something could not be kept."""


OpenSink = Callable[[Mapping[str, object]], Sink]
"""Given the configuration of the run. Raises `SettingError`, or OSError."""


def numbers_of(view: AgentView) -> dict[str, float]:
    """The numbers of one line of `metrics.jsonl`, by name, that are finite; rejected messages in one sum."""
    found = {name: float(getattr(view, name)) for name in _MEASURED}
    found |= {f"metrics/{name}": value for name, value in view.metrics.items()}
    found |= {f"messages/{name}": float(getattr(view.messages, name)) for name in _COUNTED}
    found["messages/rejected"] = float(sum(view.messages.rejected.values()))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def result_numbers(outcome: Outcome) -> dict[str, float]:
    """Mean and worst decile of every score, by name, that are finite."""
    found = {
        f"result/{column}/{name}": value
        for column, numbers in outcome.summary().items()
        for name, value in numbers.items()
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


class MetricsFile:
    """`metrics.jsonl`: one line for each agent and time. `size`: bytes that were written."""

    def __init__(self, path: Path) -> None:
        """Goes on after what is there. Raises OSError."""
        self._file = path.open("a", encoding="utf-8")
        self.size = 0

    def record(self, at_s: float, views: Sequence[AgentView]) -> None:
        """A line for each agent."""
        for view in views:
            line = json.dumps(jsonable({"at_s": round(at_s, 3), **asdict(view)})) + "\n"
            self.size += len(line)
            self._file.write(line)

    def finish(self, outcome: Outcome) -> None:
        """Results have a file of their own."""

    def close(self) -> str | None:
        """Close it."""
        self._file.close()
        return None


def extra_sinks(tensorboard: Path | None, mlflow: str | None) -> list[OpenSink]:
    """What opens the sinks beside `--out`, in the order of the options.

    Raises `SettingError`, before anything is opened, where the package of one is not installed.
    """
    found: list[OpenSink] = []
    if tensorboard is not None:
        _needs("tensorboard", str(tensorboard))
        found.append(lambda _: _tensorboard(tensorboard))
    if mlflow is not None:
        _needs("mlflow", mlflow)
        found.append(lambda config: _mlflow(mlflow, config))
    return found


def _needs(package: str, given: str) -> None:
    if importlib.util.find_spec(package) is None:
        remedy = f"it needs {package}, which is not installed: pip install 'hyperpush[{package}]'"
        raise SettingError(package, given, remedy)


def _tensorboard(folder: Path) -> Sink:
    from peer.tensorboard_sink import TensorBoardSink

    return TensorBoardSink(folder)


def _mlflow(uri: str, config: Mapping[str, object]) -> Sink:
    from peer.mlflow_sink import MlflowSink

    return MlflowSink(uri, config)
