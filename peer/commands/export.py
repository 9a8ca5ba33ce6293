"""`hyperpush export`: the personal model of an agent's newest checkpoint as a file that needs no hyperpush.

Takes no lock: an agent that runs there is not disturbed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from peer.data.inputs import one_tensor
from peer.errors import SettingError
from peer.exporting.checked import export
from peer.exporting.facts import Facts
from peer.exporting.formats import FORMATS, chosen_format
from peer.kept import kept_by, sampled
from peer.options import data_choice, shard_of
from peer.predicting import Form
from peer.tasks import make_task
from peer.whole_file import check_place

if TYPE_CHECKING:
    import argparse

    from torch import Tensor

    from peer.kept import Kept
    from peer.module_problem import ModuleProblem
    from peer.personal_module import PersonalModule


def main(options: argparse.Namespace) -> int:
    """Write, compare, and say what was written; returns the exit code."""
    folder: Path = options.dir
    file: Path = options.file
    if file.resolve().is_relative_to(folder.resolve()):
        raise SettingError("file", str(file), "give a place outside the state directory")
    check_place(file)
    name = chosen_format(options.format, file)
    index, count = shard_of(options.shard)
    task = make_task(
        options.task, count, options.seed, options.personalization, shard=index, choice=data_choice(options)
    )
    problem = sampled(str(options.task), task.problems[index])
    kept = kept_by(folder, problem, task.fingerprint)
    for wrong in kept.damaged:
        print(wrong, file=sys.stderr)
    hyperparameters, local = kept.learner.hyperparameters, kept.learner.local
    module = problem.personal_module(kept.model, hyperparameters, local)

    def own(inputs: Tensor) -> Tensor:
        return problem.predict(kept.model, hyperparameters, inputs, local).cpu()

    facts = _facts(options, problem, module, kept)
    sets = (problem.validation_set, problem.training_set)
    inputs = torch.cat([one_tensor(samples[0], "export") for samples in sets])
    found = export(FORMATS[name], module, facts, file, own=own, inputs=inputs)
    told, largest = facts.to_text(), f"{found.largest:.3g} at most, over {found.samples} samples"
    for line in (
        f"{kept}: personal model in {file}, {name}, {found.file_bytes:,} bytes",
        f"largest difference from the agent's own outputs: {found.difference:.2g} (these are {largest})",
        f"inputs {told['inputs']}, outputs {told['outputs']}",
        f"formula, in the file: {told['formula']}",
    ):
        print(line)
    return 0


def _facts(options: argparse.Namespace, problem: ModuleProblem, module: PersonalModule, kept: Kept) -> Facts:
    inputs = one_tensor(problem.training_set[0], "export")
    with torch.no_grad():
        outputs = module(inputs[:2])
    return Facts(
        task=options.task.name if isinstance(options.task, Path) else options.task,  # not where it lies
        personalization=options.personalization,
        identity=kept.checkpoint.identity,
        checkpoint=kept.number,
        saved_at=kept.checkpoint.saved_at,
        tick=kept.ticks,
        epoch=kept.checkpoint.epoch,
        form=Form.of(inputs),
        outputs=tuple(outputs.shape[1:]),
        classes=problem.classes,
        formulas=tuple(module.formulas),
    )
