"""One run of `hyperpush bench personalization`: a method with a setting on a network, scored."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from peer.bench.personalization_networks import SILENT, links_of, network_of_agents, speeds_of
from peer.data.choice import DataChoice
from peer.data.inputs import tensors_of
from peer.data.scheme import parse_scheme
from peer.errors import SettingError
from peer.module_problem import ModuleProblem
from peer.module_scores import accuracy
from peer.rivals.alone import Local
from peer.rivals.crowd import Crowd
from peer.rivals.links import NoLinks
from peer.rivals.method import run
from peer.rivals.registry import RIVALS
from peer.settings import AgentSettings
from peer.tasks import make_task
from peer.tracking import TrackingStream
from peer.virtual_swarm import Swarm, reproducible_torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.personalization.contract import Named
    from peer.problem import BilevelProblem
    from peer.rivals.links import Links
    from peer.rivals.method import Method, Predictors, Setting
    from peer.tasks.task import Task

ALL_LABELS: Final = "local, train + validation"  # with the setting of `Local`
TRACKING: Final = "shared: tracking"  # our agents with nothing personal
OURS: Final = "hyperpush"
PERSONAL: Final = "personalization"
# Of our agents: as many as every other method has settings.
CHOICES: Final = (
    *("logits", "head", "interpolation", "proximal"),
    *("proximal+logits", "mixture:3+logits"),
)
NO_NETWORK: Final = "none"  # where it makes no difference
TUNED_WITH: Final = 0  # the seed with which settings are chosen: of the split, the links and the batches


@dataclass(frozen=True, slots=True)
class Scale:
    """What is equal in all runs of a table."""

    task: str
    agents: int
    steps: int  # gradient steps of a typical agent
    samples: int | None = None
    partition: str | None = None
    model: str | None = None
    data_dir: str | None = None
    data: str = ""  # a fingerprint of the samples
    device: str = "cpu"


class Run(NamedTuple):
    """What is to be done. `setting`: its place in the method's grid."""

    scale: Scale
    network: str
    method: str
    setting: int
    seed: int

    @property
    def key(self) -> str:
        """Names it in a record: all that accuracies depend on."""
        scale = self.scale
        some = (
            scale.task,
            scale.data,
            scale.samples,
            scale.partition,
            scale.model,
            scale.agents,
            scale.steps,
        )
        setting = told(grid_of(self.method)[self.setting])
        return "/".join(map(str, (*some, self.network, self.method, setting, self.seed)))


@dataclass(frozen=True, slots=True)
class Moment:
    """Accuracies of all agents."""

    validation: tuple[float, ...]
    test: tuple[float, ...]

    @property
    def chosen_by(self) -> float:
        """The mean on validation samples."""
        return math.fsum(self.validation) / len(self.validation)

    @property
    def mean(self) -> float:
        """On test samples."""
        return math.fsum(self.test) / len(self.test)

    @property
    def bottom_decile(self) -> float:
        """The accuracy that nine agents in ten exceed: the tenth percentile, between agents linearly."""
        return float(torch.quantile(torch.tensor(self.test, dtype=torch.float64), 0.1))


@dataclass(frozen=True, slots=True)
class Score:
    """What came of a run."""

    before: Moment  # after local work
    after: Moment | None  # after averaging; None where that is not what predicts
    bytes: int  # sent by all together
    messages: int
    wall_s: float

    @property
    def best(self) -> Moment:
        """The moment that is better on validation samples."""
        return self.at(self.is_better_after)

    @property
    def is_better_after(self) -> bool:
        """On validation samples."""
        return self.after is not None and self.after.chosen_by > self.before.chosen_by

    def at(self, after: bool) -> Moment:
        """That moment, or the one there is."""
        return self.after if after and self.after is not None else self.before


def grid_of(method: str) -> Sequence[Setting]:
    """The settings that are tried."""
    if method == OURS:
        return tuple({PERSONAL: name} for name in CHOICES)
    if method == TRACKING:
        return ({PERSONAL: "none"},)
    return rival_of(method).grid


def rival_of(method: str) -> type[Method]:
    """The class of a method that is not ours."""
    return Local if method == ALL_LABELS else RIVALS[method]


def sends(method: str) -> bool:
    """Whether its agents send anything."""
    return method in (OURS, TRACKING) or rival_of(method).has_links


def place_of(method: str, network: str) -> str:
    """Under which network a run is known: who sends nothing learns alike on all in which speeds are equal."""
    return network if sends(method) or network == SILENT else NO_NETWORK


def told(setting: Setting) -> str:
    """In a few words."""
    if PERSONAL in setting:
        return str(setting[PERSONAL])
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in setting.items())


def perform(one: Run) -> Score:
    """In any process, with one thread; equal runs give equal accuracies."""
    began = time.perf_counter()
    with reproducible_torch():
        if one.method in (OURS, TRACKING):
            before, after, sent, messages = _agents(one)
        else:
            before, after, sent, messages = _rival(one)
    return Score(before, after, sent, messages, time.perf_counter() - began)


Scored = tuple[Moment, Moment | None, int, int]


def _rival(one: Run) -> Scored:
    scale = one.scale
    kind = rival_of(one.method)
    setting = kind.grid[one.setting]
    problems = _problems(scale, one.seed, "none")
    crowd = Crowd(problems, device=scale.device, together=one.method == ALL_LABELS)
    turn = kind.steps_a_turn(setting)
    links: Links
    if kind.has_links:
        links = links_of(one.network, scale.agents, one.seed, turn)
    else:
        links = NoLinks(speeds_of(scale.agents) if one.network == SILENT else [1.0] * scale.agents)
    ended = run(kind(crowd, links, setting, scale.steps), links, scale.steps)

    def moment(found: Predictors) -> Moment:
        validation, test = (crowd.accuracies(*found, part) for part in ("validation", "test"))
        return Moment(tuple(validation), tuple(test))

    after = None if ended.after is None else moment(ended.after)
    return moment(ended.before), after, links.bytes, links.messages


def _agents(one: Run) -> Scored:
    """Agents as they are, in the simulator, with steps of their own choice."""
    scale = one.scale
    problems = _problems(scale, one.seed, str(grid_of(one.method)[one.setting][PERSONAL]))
    settings = AgentSettings(hyper_step_size=None, evaluate_every=0)
    network = network_of_agents(one.network, scale.agents, one.seed, settings.tick_s)
    swarm = Swarm(problems, settings, faults=network.faults, seed=one.seed, speeds=network.speeds)
    swarm.simulation.run_until(scale.steps * settings.tick_s)
    before: list[tuple[float, float]] = []
    after: list[tuple[float, float]] = []
    for problem, member in zip(problems, swarm.members, strict=True):
        found = swarm.result(member)
        assert member.agent is not None
        assert member.learner is not None
        stream = member.agent.solver.model
        assert isinstance(stream, TrackingStream)
        stepped = member.learner.layout.unflatten(stream.stepped)
        for moment, model in ((before, stepped), (after, found.model)):
            moment.append(_accuracies(problem, model, found.hyperparameters, found.local))
    counters = swarm.simulation.counters.values()
    return (
        Moment(*map(tuple, zip(*before, strict=True))),
        Moment(*map(tuple, zip(*after, strict=True))),
        sum(one.bytes_sent for one in counters),
        sum(one.sent for one in counters),
    )


def _accuracies(
    problem: ModuleProblem, model: Named, hyperparameters: Named, local: Named
) -> tuple[float, float]:
    """On validation and test samples."""
    assert problem.test_set is not None
    with torch.no_grad():
        validation, test = (
            accuracy(problem.predict(model, hyperparameters, inputs, local), targets)
            for inputs, targets in (problem.validation_set, problem.test_set)
        )
    return validation, test


def check(scale: Scale) -> None:
    """Raise `SettingError` or `ProblemError` for a task in which something cannot be personal."""
    for name in CHOICES:
        _of_classes(_task(scale, TUNED_WITH, name).problems[0])


def with_data(scale: Scale) -> Scale:
    """With the fingerprint of its samples: fingerprints of tasks do not tell those of a folder.

    Raises `SettingError` for data that are not there or cannot be shared out so.
    """
    digest = hashlib.blake2b(digest_size=8)
    for problem in _problems(scale, TUNED_WITH, "none"):
        for samples in (problem.training_set, problem.validation_set, problem.test_set):
            assert samples is not None
            for tensor in (*tensors_of(samples[0]).values(), samples[1]):
                digest.update(tensor.contiguous().numpy().tobytes())
    return replace(scale, data=digest.hexdigest())


@lru_cache(maxsize=2)
def _problems(scale: Scale, seed: int, personal: str) -> tuple[ModuleProblem, ...]:
    found = _task(scale, seed, personal).problems
    return tuple(_of_classes(found[number]) for number in range(scale.agents))


def _task(scale: Scale, seed: int, personal: str) -> Task:
    choice = DataChoice(
        None if scale.partition is None else parse_scheme(scale.partition),
        None if scale.data_dir is None else Path(scale.data_dir),
        scale.model,
        scale.samples,
    )
    return make_task(scale.task, scale.agents, seed, personal, choice=choice)


def _of_classes(problem: BilevelProblem[Any]) -> ModuleProblem:
    if not isinstance(problem, ModuleProblem) or problem.test_set is None or problem.classes is None:
        raise SettingError("task", type(problem).__name__, "give a task with test samples of classes")
    return problem
