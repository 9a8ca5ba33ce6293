"""A swarm of real `hyperpush run` processes in a laboratory, and how far each is from the closed form."""

from __future__ import annotations

import json
import signal
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from peer.quadratic import QuadraticProblem, closed_form
from peer.tasks import make_task
from tests.network.lab import wait_until
from wire.keys import KeyRing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tests.network.lab import HostProcess, Lab

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
PORT = 7700


class Swarm:
    """One agent per host of the laboratory at most; the agent of host N holds shard N + 1."""

    def __init__(self, lab: Lab, folder: Path, name: str, *options: str) -> None:
        self.lab = lab
        self.processes: dict[int, HostProcess] = {}
        self._folder = folder
        self._folder.mkdir(exist_ok=True)
        self._key = folder / "swarm.key"
        self._key.write_text(KeyRing.new(bytes(range(32))).to_text(), encoding="utf-8")
        self._key.chmod(0o600)
        self._name = name
        self._options = options
        self._began = time.monotonic()
        self._starts = 0

    def say(self, text: str) -> None:
        """A line of the scenario's log: `pytest -n 0 -s` shows it."""
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    def start(self, *hosts: int) -> None:
        """Start agents and wait until they listen; one that was there before comes back with its state."""
        for host in hosts:
            self._starts += 1
            self._file(host).unlink(missing_ok=True)
            self.processes[host] = self.lab.start(
                host,
                *(sys.executable, "-m", "tests.network.agent_main", str(self._file(host))),
                *("run", "--shard", f"{host + 1}/{len(self.lab.hosts)}", "--swarm", self._name),
                *("--name", f"host-{host}", "--listen", f"0.0.0.0:{PORT}", "--key", str(self._key)),
                *("--state", str(self._folder / f"state-{host}"), *self._options),
                *("--out", str(self._folder / f"out-{host}-{self._starts}")),
                log=self._folder / f"log-{host}-{self._starts}",
                env={"PYTHONPATH": str(ROOT)},
            )
        for host in hosts:
            self.processes[host].wait_for("listens on")

    def kill(self, host: int) -> None:
        """SIGKILL: it says nothing to anybody."""
        self.processes.pop(host).kill()

    def state(self, host: int) -> Mapping[str, Any]:
        """What the agent has come to; empty as long as it has written nothing."""
        process = self.processes[host]
        assert process.ended() is None, f"host {host} ended with {process.ended()}: {process.text()[-2000:]}"
        return self._written(host)

    def errors(self, *groups: Collection[int]) -> dict[str, float]:
        """Largest relative distance of any agent from the closed form of the agents in its group."""
        worst = {"model": 0.0, "adjoint": 0.0, "hypergradient": 0.0}
        for group in groups:
            truth = closed_form([self._problems[host] for host in group])
            for host, hypergradient in zip(group, truth.hypergradients, strict=True):
                state = self.state(host)
                if not state:
                    return dict.fromkeys(worst, float("inf"))
                exact = {"model": truth.model, "adjoint": truth.adjoint, "hypergradient": hypergradient}
                for part, wanted in exact.items():
                    worst[part] = max(worst[part], _relative(state[part], wanted))
        return worst

    def learn(self, what: str, *groups: Collection[int], goal: float, limit_s: float) -> None:
        """Wait until each group learns together, that close to its closed form; tell how close, and when."""
        began, far = time.monotonic(), self.errors(*groups)

        def reached() -> dict[str, float]:
            found = self.errors(*groups)
            return found if max(found.values()) < goal and self.are_together(*groups) else {}

        self.say(f"{what}: {_told(far)}")
        found = self.wait(reached, what, limit_s)
        epochs = sorted({self.state(host)["epoch"] for group in groups for host in group})
        self.say(f"    after {time.monotonic() - began:4.1f} s: {_told(found)}, epoch {epochs}")

    def wait(self, condition: Callable[[], T], what: str, limit_s: float) -> T:
        """`wait_until`; if it fails the log tells where everybody stands."""
        try:
            return wait_until(condition, what, limit_s)
        except AssertionError:
            parts = ("model", "adjoint", "hypergradient")
            for host, process in sorted(self.processes.items()):
                stands = {key: value for key, value in self._written(host).items() if key not in parts}
                self.say(f"host {host}: {json.dumps(stands)}\n{process.text()[-800:]}")
            raise

    def are_together(self, *groups: Collection[int]) -> bool:
        """Whether the agents of each group learn in one epoch and know of each other and of nobody else."""
        for group in groups:
            states = [self.state(host) for host in group]
            if not all(states) or len({state["epoch"] for state in states}) > 1:
                return False
            members = sorted(state["peer"] for state in states)
            if any(sorted({state["peer"], *state["alive"]}) != members for state in states):
                return False
            if any(state["phase"] != "running" for state in states):
                return False
        return True

    def pushes(self, source: int, target: int) -> bool:
        """Whether that one is among its out-neighbours in its epoch."""
        return any(peer.startswith(f"host-{target}") for peer in self.state(source)["out_neighbours"])

    def tick(self, ticks: int, limit_s: float) -> None:
        """Wait until everybody has done so many more ticks."""
        ends = {host: self.state(host)["tick"] + ticks for host in self.processes}
        self.wait(
            lambda: all(self.state(host)["tick"] >= end for host, end in ends.items()),
            f"{ticks} more ticks",
            limit_s,
        )

    def stop(self, *hosts: int) -> None:
        """SIGTERM: each says goodbye and ends with its results."""
        leaving = [self.processes.pop(host) for host in hosts]
        for process in leaving:
            process.signal(signal.SIGTERM)
        for process in leaving:
            assert process.wait() == 0, process.text()[-2000:]

    @cached_property
    def _problems(self) -> list[QuadraticProblem]:
        problems = make_task("synthetic", len(self.lab.hosts), 0, "none").problems
        return [problem for problem in problems if isinstance(problem, QuadraticProblem)]

    def _written(self, host: int) -> Mapping[str, Any]:
        file = self._file(host)
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}

    def _file(self, host: int) -> Path:
        return self._folder / f"found-{host}.json"


def _told(errors: Mapping[str, float]) -> str:
    return ", ".join(f"{part} {error:.1e}" for part, error in errors.items())


def _relative(found: Mapping[str, list[float]], truth: torch.Tensor) -> float:
    (values,) = found.values()
    return float((torch.tensor(values, dtype=torch.float64) - truth).norm() / truth.norm())
