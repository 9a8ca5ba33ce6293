"""The agents of a swarm as one batch: models as rows of a matrix, gradients of all of them in one call."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from peer.batch_norms import moves
from peer.data.inputs import one_tensor
from peer.errors import ProblemError
from peer.module_scores import accuracy
from peer.tensors import FlatLayout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.data.inputs import Samples
    from peer.module_problem import ModuleProblem


class Stack(NamedTuple):
    """One batch of each of m agents, of B samples; smaller batches are filled up with samples of weight 0."""

    inputs: Tensor  # (m, B, ...)
    targets: Tensor  # (m, B)
    weights: Tensor  # (m, B); those of one agent add up to 1

    def repeated(self, times: int) -> Stack:
        """Every agent's batch so many times in a row: for several models of each agent."""
        return Stack(*(tensor.repeat_interleave(times, dim=0) for tensor in self))


class Crowd:
    """The data of all agents, and the network that they have in common, which has nothing personal.

    Batches are drawn as agents draw them (`ModuleProblem.batches`), losses are the same, with weight decay.
    `together`: batches of training and validation samples. Raises `ProblemError` for networks of different
    shapes or targets that are no classes.
    """

    def __init__(
        self, problems: Sequence[ModuleProblem], *, device: str = "cpu", together: bool = False
    ) -> None:
        first = problems[0]
        if first.classes is None:
            raise ProblemError("these methods learn classes; the targets are no whole numbers")
        if any(map(moves, first.module.modules())):
            raise ProblemError(
                "these methods know no running statistics; use GroupNorm, or freeze with eval()"
            )
        self.device = torch.device(device)
        self.layout = FlatLayout(
            {name: tensor.to(self.device) for name, tensor in first.parameters.items()}, "parameters"
        )
        for problem in problems:
            if FlatLayout(problem.parameters, "parameters").describe() != self.layout.describe():
                raise ProblemError("the agents have different networks; give all of them the same")
        self.agents = len(problems)
        self.initial = self.layout.flatten(first.parameters).to(self.device)  # (P,)
        self._problems = problems
        self._module = copy.deepcopy(first.module).to(self.device)
        self._decay = first.weight_decay
        self._draws = [one.all_batches() if together else one.batches() for one in problems]
        self._gradients = torch.func.vmap(torch.func.grad(self._loss))
        self._losses = torch.func.vmap(self._sample_losses)

    @property
    def size(self) -> int:
        """P: the parameters of one model."""
        return len(self.initial)

    def repeated(self, models: Tensor) -> Tensor:
        """(n, ...): one copy for each agent."""
        return models.expand(self.agents, *models.shape).clone()

    def batches(self, rows: Tensor) -> Stack:
        """The next batch of each of these agents."""
        drawn = [next(self._draws[row]) for row in rows.tolist()]
        longest = max(len(batch.targets) for batch in drawn)
        weights = torch.zeros(len(drawn), longest)
        for place, batch in enumerate(drawn):
            weights[place, : len(batch.targets)] = 1 / len(batch.targets)
        found = Stack(
            torch.stack([_filled(_inputs(batch[:2]), longest) for batch in drawn]),
            torch.stack([_filled(batch.targets, longest) for batch in drawn]),
            weights,
        )
        return Stack(*(tensor.to(self.device) for tensor in found))

    def gradients(self, models: Tensor, stack: Stack) -> Tensor:
        """Of the weighted losses with weight decay: (m, P), one for each model and its batch."""
        found: Tensor = self._gradients(models, *stack)
        return found

    def sample_losses(self, models: Tensor, stack: Stack) -> Tensor:
        """(m, B), without weights and weight decay."""
        with torch.no_grad():
            found: Tensor = self._losses(models, stack.inputs, stack.targets)
        return found

    def training_losses(self, models: Tensor) -> Tensor:
        """Mean over all training samples of each agent, of each of its models (n, K, P): (n, K)."""
        found = [
            torch.stack(
                [-_mean_log(self._outputs(one, _inputs(problem.training_set)), problem) for one in own]
            )
            for own, problem in zip(models, self._problems, strict=True)
        ]
        return torch.stack(found)

    def accuracies(self, models: Tensor, shares: Tensor | None, part: str) -> list[float]:
        """Of every agent's models (n, K, P) on its `validation` or `test` samples.

        With shares (n, K), of the mixture of the probabilities that its models predict; without, K is 1.
        """
        found = []
        for number, problem in enumerate(self._problems):
            samples = _part(problem, part)
            inputs, targets = _inputs(samples), samples[1]
            outputs = [self._outputs(one, inputs) for one in models[number]]
            if shares is None:
                (mixed,) = outputs
            else:
                likely = torch.stack([torch.softmax(one, 1) for one in outputs])
                mixed = (shares[number][:, None, None] * likely).sum(0)
            found.append(accuracy(mixed.cpu(), targets))
        return found

    def _outputs(self, flat: Tensor, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = torch.func.functional_call(
                self._module, self.layout.unflatten(flat), (inputs.to(self.device),)
            )
        return found

    def _sample_losses(self, flat: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        outputs = torch.func.functional_call(self._module, self.layout.unflatten(flat), (inputs,))
        return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")

    def _loss(self, flat: Tensor, inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        losses = self._sample_losses(flat, inputs, targets)
        return (losses * weights).sum() + self._decay / 2 * flat.square().sum()


def _filled(tensor: Tensor, length: int) -> Tensor:
    """So many rows: the first of it again and again at the end."""
    missing = length - len(tensor)
    return torch.cat([tensor, tensor[:1].expand(missing, *tensor.shape[1:])]) if missing else tensor


def _part(problem: ModuleProblem, part: str) -> Samples:
    found = problem.validation_set if part == "validation" else problem.test_set
    assert found is not None
    return found


def _inputs(samples: Samples) -> Tensor:
    return one_tensor(samples[0], "this comparison")


def _mean_log(outputs: Tensor, problem: ModuleProblem) -> Tensor:
    targets = problem.training_set[1].to(outputs.device)
    return torch.log_softmax(outputs, 1).gather(1, targets[:, None]).mean()
