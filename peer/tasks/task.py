"""What the commands need to know of a task: its problems, its settings, and how results are scored."""

from __future__ import annotations

import threading
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch

from peer.baselines import never
from peer.data.choice import DataChoice
from peer.errors import SettingError
from peer.outcome import Kind
from peer.personalization import personalization
from peer.quadratic import QuadraticProblem, bilevel_solution, closed_form
from peer.tasks.digits import DIRICHLET, digits_problem, split_digits
from peer.tasks.file import FileTask
from peer.tasks.folder import folder_task
from peer.tasks.samples import SampleTask, image_task, mixture_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from peer.problem import BilevelProblem
    from peer.quadratic import ClosedForm
    from peer.settings import AgentSettings, SettingKeywords
    from peer.tasks.scoring import Answer


class Task(Protocol):
    """A task for a swarm of a known number of agents."""

    @property
    def name(self) -> str:
        """As given on the command line."""

    @property
    def fingerprint(self) -> str:
        """What must be equal at all agents so that their shards fit: task, number of agents, seed."""

    @property
    def kind(self) -> Kind:
        """What the scores are."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Names of the scores and what people read above them, in order."""

    @property
    def class_names(self) -> Sequence[str]:
        """Of the outputs, in order; none where they are unknown, or another class for every agent."""

    @property
    def problems(self) -> Sequence[BilevelProblem[Any]]:
        """One per agent; equal arguments give equal problems on every machine."""

    @property
    def settings(self) -> SettingKeywords:
        """Settings that suit it; the command line overrides them."""

    def scores(
        self,
        shard: int,
        answer: Answer,
        settings: AgentSettings,
        ticks: int,
        stopped: Callable[[], bool] = never,
    ) -> dict[str, float]:
        """One number per column for the agent of this shard, which has done `ticks` ticks.

        `stopped` is asked again and again, from any thread: once it says so, there is no time to train alone
        for comparison, and columns may be missing.
        """

    def among(self, shards: Sequence[int]) -> Task:
        """To score those who are left when only these shards take part at the end."""


class SyntheticTask:
    """Quadratics with a closed form: relative distances from the truth; less is better."""

    name = "synthetic"
    kind = Kind.ERROR
    class_names: Sequence[str] = ()
    columns: Mapping[str, str] = MappingProxyType(
        {name: name for name in ("model", "adjoint", "hypergradient", "hyperparameters")}
    )

    @property
    def settings(self) -> SettingKeywords:
        """Hyperparameters are held, so that the closed form is known."""
        return {}

    def __init__(self, agents: int, seed: int, personal: str, shards: Sequence[int] | None = None) -> None:
        del personal  # its hyperparameters are what they are
        self._agents, self._seed = agents, seed
        self._shards = range(agents) if shards is None else shards
        self.fingerprint = f"{self.name}/{agents}/{seed}"
        generator = torch.Generator().manual_seed(seed)
        self.problems: Sequence[QuadraticProblem] = [
            QuadraticProblem.random(generator) for _ in range(agents)
        ]
        self._known: _Truth | None = None
        self._knowing = threading.Lock()  # agents are scored in threads

    def among(self, shards: Sequence[int]) -> Task:
        """The closed form is that of these shards."""
        return SyntheticTask(self._agents, self._seed, "none", shards)

    def scores(
        self,
        shard: int,
        answer: Answer,
        settings: AgentSettings,
        ticks: int,
        stopped: Callable[[], bool] = never,
    ) -> dict[str, float]:
        """Against the closed form: at the initial hyperparameters if they are held, else at the solution."""
        del ticks, stopped
        place = self._shards.index(shard)
        held = settings.hyper_step_size == 0
        known = self._truth()
        truth = known.held if held else known.solved
        wanted = self.problems[shard].hyperparameters["h"] if held else known.solution[place]
        scale = float(known.held.hypergradients[place].norm())  # at the solution the true one is zero
        difference = answer.hypergradient["h"] - truth.hypergradients[place]
        return {
            "model": _relative(answer.model["x"], truth.model),
            "adjoint": _relative(answer.adjoint["x"], truth.adjoint),
            "hypergradient": float(difference.norm()) / scale,
            "hyperparameters": _relative(answer.hyperparameters["h"], wanted),
        }

    def _truth(self) -> _Truth:
        """Of these shards, once somebody asks: of hundreds it takes longer than to learn."""
        with self._knowing:
            if self._known is None:
                there = [self.problems[shard] for shard in self._shards]
                solution = bilevel_solution(there)
                self._known = _Truth(closed_form(there), solution, closed_form(there, solution))
            return self._known


class _Truth(NamedTuple):
    """Closed forms: at the initial hyperparameters; the hyperparameters of the solution; and there."""

    held: ClosedForm
    solution: tuple[Tensor, ...]
    solved: ClosedForm


def _relative(found: Tensor, truth: Tensor) -> float:
    return float((found - truth).norm() / truth.norm())


class Wanted(NamedTuple):
    """What a task is made for."""

    agents: int
    seed: int
    personalization: str
    shard: int
    choice: DataChoice


def _digits(wanted: Wanted) -> Task:
    """Accuracies on each device's own test images."""
    wanted.choice.only("digits", "partition")
    agents, seed, scheme = wanted.agents, wanted.seed, wanted.choice.partition or DIRICHLET
    chosen = personalization(wanted.personalization)
    shared_out = "" if scheme == DIRICHLET else f"{scheme}/"
    return SampleTask(
        "digits",
        f"digits/{shared_out}{agents}/{seed}",
        [digits_problem(data, chosen, seed) for data in split_digits(agents, seed, scheme)],
        {"hyper_step_size": None},
        () if scheme.transform == "permuted" else tuple("0123456789"),
    )


def _synthetic(wanted: Wanted) -> Task:
    wanted.choice.only("synthetic")
    return SyntheticTask(wanted.agents, wanted.seed, wanted.personalization)


def _images(name: str) -> Callable[[Wanted], Task]:
    def make(wanted: Wanted) -> Task:
        personal = personalization(wanted.personalization)
        return image_task(name, wanted.agents, wanted.seed, personal, wanted.choice)

    return make


def _mixture(wanted: Wanted) -> Task:
    wanted.choice.only("fedem-synthetic")
    return mixture_task(wanted.agents, wanted.seed, personalization(wanted.personalization))


def _folder(wanted: Wanted) -> Task:
    personal = personalization(wanted.personalization)
    return folder_task(wanted.agents, wanted.seed, personal, wanted.choice, wanted.shard)


TASKS: Mapping[str, Callable[[Wanted], Task]] = MappingProxyType(
    {
        "digits": _digits,
        "synthetic": _synthetic,
        **{name: _images(name) for name in ("fashion-mnist", "mnist", "emnist")},
        "fedem-synthetic": _mixture,
        "folder": _folder,
    }
)


def make_task(
    name: str | Path,
    agents: int,
    seed: int,
    personal: str,
    *,
    shard: int = 0,
    choice: DataChoice | None = None,
) -> Task:
    """The task of this name, or in this file, for so many agents, of which this process has at least `shard`.

    A file is executed. Raises `SettingError` listing the known names, or saying what is wrong with the file,
    with the data or with what was chosen of them.
    """
    if agents < 1:
        raise SettingError("agents", agents, "give 1 or more")
    chosen = personalization(personal)
    choice = choice or DataChoice()
    if isinstance(name, Path):
        choice.only(str(name))
        return FileTask(name, agents, seed, chosen, shard)
    if name not in TASKS:
        remedy = f"give one of {', '.join(TASKS)}, or a file of Python, such as task.py"
        raise SettingError("task", name, remedy)
    return TASKS[name](Wanted(agents, seed, personal, shard, choice))
