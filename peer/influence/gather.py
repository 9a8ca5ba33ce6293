"""Findings from a simulated swarm, or from what a real agent keeps. An edge: it reads files."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from peer.errors import SettingError
from peer.influence.findings import Findings, findings_of
from peer.influence.wrong_labels import wrong_labels
from peer.kept import kept_by
from peer.settings import AgentSettings
from peer.virtual_swarm import Swarm, reproducible_torch
from wire import FaultPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from peer.module_problem import ModuleProblem
    from peer.settings import SettingKeywords


def planted(
    problems: Sequence[ModuleProblem], share: float, seed: int
) -> list[tuple[ModuleProblem, dict[int, int]]]:
    """Every second problem with so many wrong labels, from the first on; and the true ones of those.

    Raises `SettingError` if targets are no classes.
    """
    found: list[tuple[ModuleProblem, dict[int, int]]] = []
    for number, problem in enumerate(problems):
        if not share or number % 2:
            found.append((problem, {}))
            continue
        if problem.classes is None or problem.classes < 2:
            raise SettingError("plant", share, "targets are no numbers of classes; leave it out")
        targets = problem.training_set[1]
        generator = torch.Generator().manual_seed(seed * 10_007 + number)
        changed, rows = wrong_labels(targets, problem.classes, share, generator)
        found.append((problem.relabelled(changed), {row: int(targets[row]) for row in rows.tolist()}))
    return found


def simulated(
    problems: Sequence[tuple[ModuleProblem, Mapping[int, int]]],
    settings: SettingKeywords,
    *,
    ticks: int,
    damping: float,
    drop: float,
    seed: int,
    progress: Callable[[float], None],
) -> list[Findings]:
    """Let a swarm with these problems learn for so many ticks. Raises `SettingError` and `ProblemError`."""
    with reproducible_torch():
        swarm = Swarm(
            [problem for problem, _ in problems],
            dataclasses.replace(AgentSettings(**settings), damping=damping),
            faults=FaultPlan(drop=drop),
            seed=seed,
            notice_s=None,
            swarm=f"influence-{seed}",
        )
        simulation, tick_s = swarm.simulation, swarm.members[0].settings.tick_s
        for tick in range(1, ticks + 1):
            simulation.run_until(tick * tick_s)
            progress(tick / ticks)
        found = []
        for member, (problem, was) in zip(swarm.members, problems, strict=True):
            result = swarm.result(member)
            assert member.learner is not None
            found.append(
                findings_of(
                    member.peer,
                    problem,
                    model=result.model,
                    adjoint=result.adjoint,
                    hyperparameters=result.hyperparameters,
                    local=result.local,
                    local_adjoint=member.learner.local_adjoint,
                    was=was,
                )
            )
    return found


def kept(folder: Path, problem: ModuleProblem) -> tuple[Findings, str]:
    """Of the newest whole checkpoint in a state directory, and which that is; takes no lock.

    Raises `StateError` if there is none, or if it is of another model.
    """
    there = kept_by(folder, problem)
    learner = there.learner
    found = findings_of(
        folder.name,
        problem,
        model=there.model,
        adjoint=there.adjoint,
        hyperparameters=learner.hyperparameters,
        local=learner.local,
        local_adjoint=learner.local_adjoint,
    )
    return found, str(there)
