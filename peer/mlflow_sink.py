"""Metrics and results in MLflow: one run of the swarm, and below it one of each agent. An edge.

Needs the package mlflow, which is the optional extra of that name. A store may be a server that is slow or
gone: a thread of its own talks to it, and what it cannot take in time is left out and counted.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from peer.errors import SettingError
from peer.sinks import numbers_of, result_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from peer.outcome import Outcome
    from peer.views import AgentView

EXPERIMENT: Final = "hyperpush"
WAITING_MAX: Final = 600  # times of recording, ten minutes: a store that is away for longer misses some
METRICS_MAX: Final = 1000  # in one request, as MLflow has it
PARAMETERS_MAX: Final = 100  # in one request, as MLflow has it
VALUE_LENGTH_MAX: Final = 500  # of a parameter, as MLflow has it
RUNS_MAX: Final = 256  # agents with a run of their own; a life without state counts as another
CLOSE_S: Final = 30.0  # for what waits, at the end
# How long MLflow tries to reach a server: by default it would be minutes. Whoever sets them has their values.
PATIENCE: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

Row = tuple[str, int, dict[str, float]]  # agent, tick, numbers; "" is the swarm


class MlflowSink:
    """Logs to the experiment `hyperpush`. A run that goes on after a restart is a run of its own there."""

    def __init__(self, uri: str, config: Mapping[str, object]) -> None:
        """Raises `SettingError` if the store cannot be used."""
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        self._began = time.time()
        self._waiting: deque[tuple[float, list[Row]]] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._left_out = 0  # times
        self._problem = ""
        self._ticks = 0
        self._has_results = False
        self._runs: dict[str, str] = {}
        try:
            from mlflow import MlflowClient

            self._client: Any = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(EXPERIMENT)
            self._experiment = (
                self._client.create_experiment(EXPERIMENT) if known is None else known.experiment_id
            )
            self._runs[""] = self._create(f"{config.get('command', 'run')} {config.get('task', '')}", {})
            self._log_parameters(config)
        except Exception as error:  # of MLflow's many layers: each means that this store cannot be used
            told = " ".join(str(error).split())[:VALUE_LENGTH_MAX]
            remedy = f"it cannot be used: {told}; give the address of a server, or sqlite:///FILE"
            raise SettingError("mlflow", uri, remedy) from None
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def record(self, at_s: float, views: Sequence[AgentView]) -> None:
        """Each agent's numbers in its run, their means in that of the swarm, by tick."""
        rows: list[Row] = [(view.id, view.tick, numbers_of(view)) for view in views]
        self._ticks = max((self._ticks, *(tick for _, tick, _ in rows)))
        self._add(at_s, [("", self._ticks, _means([numbers for _, _, numbers in rows])), *rows])

    def finish(self, outcome: Outcome) -> None:
        """Mean and worst decile over the agents."""
        self._has_results = True
        self._add(time.time() - self._began, [("", self._ticks, result_numbers(outcome))])

    def close(self) -> str | None:
        """Wait for what is on its way, but not for ever."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(CLOSE_S)
        left = self._left_out + len(self._waiting)
        if not (left or self._problem or self._thread.is_alive()):
            return None
        why = f": {self._problem}" if self._problem else ""
        return f"mlflow: numbers of {left} times are not in the store{why}; metrics.jsonl of --out has all"

    def _add(self, at_s: float, rows: list[Row]) -> None:
        with self._changed:
            if len(self._waiting) >= WAITING_MAX:
                self._waiting.popleft()
                self._left_out += 1
            self._waiting.append((at_s, rows))
            self._changed.notify()

    def _work(self) -> None:
        """In the thread, until all is written after `close`."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ending)
                taken = list(self._waiting)
                self._waiting.clear()
            if not taken:
                break
            try:
                self._log(taken)
            except Exception as error:  # of MLflow's many layers: the swarm learns on without it
                self._left_out += len(taken)
                self._problem = " ".join(str(error).split())[:VALUE_LENGTH_MAX]
        try:
            for name, run in self._runs.items():
                whole = self._has_results or name
                self._client.set_terminated(run, "FINISHED" if whole else "KILLED")
        except Exception as error:  # as above
            self._problem = " ".join(str(error).split())[:VALUE_LENGTH_MAX]

    def _log(self, taken: Sequence[tuple[float, list[Row]]]) -> None:
        from mlflow.entities import Metric

        by_run: dict[str, list[Any]] = {}
        for at_s, rows in taken:
            stamp = int(1000 * (self._began + at_s))
            for agent, tick, numbers in rows:
                run = self._run(agent)
                if run is not None:
                    by_run.setdefault(run, []).extend(
                        Metric(key, value, stamp, tick) for key, value in numbers.items()
                    )
        for run, metrics in by_run.items():
            for some in _parts(metrics, METRICS_MAX):
                self._client.log_batch(run, metrics=some)

    def _run(self, agent: str) -> str | None:
        """Of this agent; None if there are too many."""
        if agent not in self._runs:
            if len(self._runs) > RUNS_MAX:
                self._problem = f"only the first {RUNS_MAX} agents have runs of their own"
                return None
            self._runs[agent] = self._create(agent, {"mlflow.parentRunId": self._runs[""]})
        return self._runs[agent]

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        return str(self._client.create_run(self._experiment, run_name=name, tags=dict(tags)).info.run_id)

    def _log_parameters(self, config: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        found = [Param(key, str(value)[:VALUE_LENGTH_MAX]) for key, value in _flat(config)]
        for some in _parts(found, PARAMETERS_MAX):
            self._client.log_batch(self._runs[""], params=some)


def _flat(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """`settings.fanout` of a value in a value; lists as they are written."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value not in (None, []):
            yield f"{prefix}{key}", value


def _parts(items: Sequence[Any], most: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), most):
        yield list(items[start : start + most])


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Over the agents that have the number."""
    names = dict.fromkeys(name for row in rows for name in row)
    found = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}
