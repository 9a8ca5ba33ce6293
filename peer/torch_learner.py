"""`peer.learner.Learner` for a `BilevelProblem`: autograd, local variables, hyperparameters' optimizer.

What the agent sees are flat vectors in main memory. Named tensors, and all that is computed of them, are on
the devices that the problem's are on.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

import torch
from torch import Tensor

from peer.data_position import Batches
from peer.derivatives import Derivatives, Losses, derivatives
from peer.errors import ProblemError
from peer.hyper_rate import HyperRate
from peer.hyper_watch import HyperWatch
from peer.learner import Evaluation, HyperReport
from peer.optimizers import check_alike, told_of
from peer.plain_trees import from_snapshot, require_alike, to_snapshot
from peer.problem import (
    BatchT,
    BilevelProblem,
    HasDerivatives,
    HasLocal,
    HasLocalLoss,
    HasMetrics,
    HasOuterBatches,
    HasPrior,
)
from peer.snapshot import Snapshot, SnapshotError
from peer.tensor_algebra import TensorAlgebra
from peer.tensors import FlatLayout
from peer.tuning.curvature import LargestCurvature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from peer.algebra import Scalar

    MakeOptimizer = Callable[[list[Tensor]], torch.optim.Optimizer]


LOCAL_STEP = 0.3  # over the curvature: local variables and the model move at once, and bend more together
OPTIMIZER_RATE = 0.01  # of hyperparameters whose optimizer is not plain descent, where it is left open


class TorchLearner(Generic[BatchT]):
    """Holds what is private to an agent: its problem, hyperparameters, local variables and their adjoint."""

    def __init__(self, problem: BilevelProblem[BatchT], make_optimizer: MakeOptimizer | None = None) -> None:
        self.problem = problem
        self.layout = FlatLayout(problem.model, "model")
        if not self.layout.size:
            raise ProblemError("model is empty; give at least one tensor to learn")
        self._initial = self.layout.flatten(problem.model)
        FlatLayout(problem.hyperparameters, "hyperparameters")
        self.hyperparameters = {name: t.detach().clone() for name, t in problem.hyperparameters.items()}
        local = problem.local if isinstance(problem, HasLocal) else {}
        FlatLayout(local, "local")
        self.local = {name: tensor.detach().clone() for name, tensor in local.items()}
        self.local_adjoint = {name: torch.zeros_like(tensor) for name, tensor in self.local.items()}
        self.hypergradient = {name: torch.zeros_like(t) for name, t in self.hyperparameters.items()}
        self._batches: Batches[BatchT] = Batches(iter(problem.batches()))
        self._of_prior = problem.prior if isinstance(problem, HasPrior) else None
        self._outer_batches: Batches[BatchT] | None = None
        if isinstance(problem, HasOuterBatches):
            self._outer_batches = Batches(iter(problem.outer_batches()))
        if self.local and isinstance(problem, HasDerivatives):
            raise ProblemError("a problem with local variables has no closed-form derivatives; leave one out")
        self._closed_form = problem.derivatives if isinstance(problem, HasDerivatives) else None
        self._local_loss = problem.local_loss if isinstance(problem, HasLocalLoss) else None
        self._optimizer: torch.optim.Optimizer | None = None  # None: plain descent
        if self.hyperparameters and make_optimizer is not None:
            self._optimizer = make_optimizer(list(self.hyperparameters.values()))
        self._sum = {name: torch.zeros_like(t) for name, t in self.hyperparameters.items()}
        self._count = 0
        self._watch = HyperWatch()
        self._rate = HyperRate()
        self._local_layout = FlatLayout(self.local, "local")
        self._local_curvature: LargestCurvature[Tensor] = LargestCurvature(TensorAlgebra("float64"))
        self._measures_local = False
        self._named = (
            self.layout.unflatten(self._initial.clone()),
            self.layout.unflatten(self._initial.clone()),
        )
        self._flat_gradients = torch.empty_like(self._initial), torch.empty_like(self._initial)
        self._searched = False  # whether its losses have been looked through for missing derivatives

    @property
    def initial_model(self) -> Tensor:
        """The problem's initial model as one flat vector."""
        return self._initial

    def evaluate(
        self, model: Tensor, adjoint: Tensor, local_step_size: Scalar, probe: Tensor | None = None
    ) -> Evaluation[Tensor]:
        """Derivatives on the next batch; local variables and their adjoint take one step of descent."""
        directions = None if probe is None else self.layout.unflatten(probe)
        named_model, named_adjoint = (
            self.layout.unflatten_into(flat, named)
            for flat, named in zip((model, adjoint), self._named, strict=True)
        )
        found = self._derivatives(named_model, named_adjoint, directions)
        for name, gradient in found.hypergradient.items():
            self._sum[name] += gradient
        self._count += 1
        return Evaluation(
            self.layout.flatten_into(found.model_gradient, self._flat_gradients[0]),
            self.layout.flatten_into(found.adjoint_gradient, self._flat_gradients[1]),
            found.training_loss,
            found.validation_loss - self._prior(),
            self._step_local(found, float(local_step_size)),
            None if found.probe_product is None else self.layout.flatten(found.probe_product),
        )

    def _prior(self) -> float:
        """What belongs to the outer loss and to no validation sample."""
        return 0.0 if self._of_prior is None else float(self._of_prior(self.hyperparameters))

    def _step_local(self, found: Derivatives, step_size: float) -> bool:
        """Descend with the local variables and their adjoint, if that leaves them finite; whether it did."""
        local = {name: self.local[name] - step_size * found.local_gradient[name] for name in self.local}
        adjoint = {
            name: self.local_adjoint[name] - step_size * found.local_adjoint_gradient[name]
            for name in self.local
        }
        if found.local_product is not None:
            self._local_curvature.take(self._local_layout.flatten(found.local_product))
        if not all(bool(torch.isfinite(tensor).all()) for tensor in (*local.values(), *adjoint.values())):
            return False
        self.local, self.local_adjoint = local, adjoint
        return True

    def _derivatives(
        self,
        model: Mapping[str, Tensor],
        adjoint: Mapping[str, Tensor],
        probe: Mapping[str, Tensor] | None,
    ) -> Derivatives:
        if self._closed_form is not None:
            found = self._closed_form(model, self.hyperparameters, adjoint)
            return found if probe is None else self._probed(found, model, adjoint, probe)
        batch = next(self._batches)
        outer_batch = batch if self._outer_batches is None else next(self._outer_batches)
        losses = Losses(
            inner=partial(self._loss, self.problem.inner_loss, batch),
            outer=partial(self._loss, self.problem.outer_loss, outer_batch),
            local=None if self._local_loss is None else partial(self._loss, self._local_loss, batch),
        )
        at = model, self.hyperparameters, self.local
        search, self._searched = not self._searched, True
        direction = None
        if self._measures_local:
            direction = self._local_curvature.direction(self._first_local_direction)
        local_probe = None if direction is None else self._local_layout.unflatten(direction)
        return derivatives(
            *(losses, *at, adjoint, self.local_adjoint),
            probe=probe,
            local_probe=local_probe,
            search_graph=search,
        )

    def local_step_size(self, at_most: Scalar) -> Scalar:
        """At most LOCAL_STEP over the largest curvature of what they minimise, by power iteration.

        Nothing, before that was measured: they would be led astray for good in their first few steps.
        """
        self._measures_local = bool(self.local)
        if not self.local:
            return at_most
        if not self._local_curvature.is_ready:
            return 0.0
        largest = self._local_curvature.value
        return at_most if largest == 0.0 else min(float(at_most), LOCAL_STEP / largest)

    def _first_local_direction(self) -> Tensor:
        """The same at every start; of no kind that a loss could be flat along."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(self._local_layout.size, generator=generator, dtype=torch.float64)

    def _probed(
        self,
        found: Derivatives,
        model: Mapping[str, Tensor],
        adjoint: Mapping[str, Tensor],
        probe: Mapping[str, Tensor],
    ) -> Derivatives:
        """With the product of the Hessian and the probe: r_x' p is linear in p."""
        assert self._closed_form is not None
        moved = {name: adjoint[name] + probe[name] for name in adjoint}
        there = self._closed_form(model, self.hyperparameters, moved).adjoint_gradient
        product = {name: there[name] - found.adjoint_gradient[name] for name in there}
        return replace(found, probe_product=product)

    def _loss(
        self,
        loss: Callable[..., Tensor],
        batch: BatchT,
        model: Mapping[str, Tensor],
        hyperparameters: Mapping[str, Tensor],
        local: Mapping[str, Tensor],
    ) -> Tensor:
        if self.local:
            return loss(model, hyperparameters, batch, local=local)
        return loss(model, hyperparameters, batch)

    def finish_tick(self, hyper_step_size: float, settling_ticks: float | None = None) -> HyperReport:
        """Average the hypergradients since the last call; step along them if they are finite.

        A rate that is chosen is one for plain descent. Other optimizers scale hypergradients themselves: what
        they are given is the share of OPTIMIZER_RATE.
        """
        if not self._count or not self.hyperparameters:
            self._count = 0
            return HyperReport(0.0)
        for name, total in self._sum.items():
            self.hypergradient[name] = total / self._count
            self._sum[name] = torch.zeros_like(total)
        self._count = 0
        flat = _flat(self.hypergradient)
        norm = math.sqrt(float(torch.dot(flat, flat)))
        if hyper_step_size == 0 or not math.isfinite(norm):
            return HyperReport(norm)
        rate = hyper_step_size
        if settling_ticks is not None:
            plain = self._optimizer is None
            rate *= (
                self._rate.choose(flat, _flat(self.hyperparameters), settling_ticks)
                if plain
                else OPTIMIZER_RATE
            )
        self._step(rate)
        if settling_ticks is not None:
            self._rate.stepped(flat, _flat(self.hyperparameters), rate, settling_ticks)
        return replace(self._watch.see(flat), rate=rate)

    def _step(self, step_size: float) -> None:
        if self._optimizer is None:
            for name, tensor in self.hyperparameters.items():
                tensor.sub_(step_size * self.hypergradient[name])
            return
        for group in self._optimizer.param_groups:
            group["lr"] = step_size
        for name, tensor in self.hyperparameters.items():
            tensor.grad = self.hypergradient[name].clone()
        self._optimizer.step()

    def metrics(self, model: Tensor) -> Mapping[str, float]:
        """The problem's metrics, if it has any."""
        if not isinstance(self.problem, HasMetrics):
            return {}
        named = self.layout.unflatten(model.clone())  # the problem may keep it
        keywords: dict[str, Any] = {"local": self.local} if self.local else {}
        return self.problem.metrics(named, self.hyperparameters, **keywords)

    # ---- what survives

    def snapshot(self) -> Snapshot[Tensor]:
        """Copies of all that is private and moves."""
        snapshot: Snapshot[Tensor] = Snapshot({}, {"layout": self.layout.to_plain()})
        for name, tensors in self._private().items():
            copies = {key: tensor.detach().clone() for key, tensor in tensors.items()}
            snapshot = snapshot.within(name, Snapshot(copies))
        snapshot = snapshot.within("watch", to_snapshot(self._watch.state_dict()))
        snapshot = snapshot.within("rate", to_snapshot(self._rate.state_dict()))
        snapshot = snapshot.within("local_curvature", to_snapshot(self._local_curvature.state_dict()))
        snapshot = snapshot.within("batches", self._batches.snapshot())
        if self._outer_batches is not None:
            snapshot = snapshot.within("outer_batches", self._outer_batches.snapshot())
        if self._optimizer is not None:
            snapshot = snapshot.within("optimizer", to_snapshot(self._optimizer.state_dict()["state"]))
            named = {**snapshot.values, "optimizer_of": told_of(self._optimizer)}
            snapshot = Snapshot(snapshot.arrays, named)
        return snapshot

    def restore(self, snapshot: Snapshot[Tensor], *, steps: bool = True) -> None:
        """Go on from what `snapshot` gave; nothing may have been evaluated yet. Raises SnapshotError.

        Without `steps` only to be looked at: whatever the optimizer was, it is not gone on with.
        """
        if steps:
            self._check_optimizer(snapshot)
        private = self._private()
        found = {name: snapshot.part(name).arrays for name in private}
        for name, own in private.items():
            require_alike(found[name], own, name)
        for name, own in private.items():
            for key, tensor in own.items():
                tensor.copy_(found[name][key])
        self._watch.load_state_dict(from_snapshot(snapshot.part("watch")))
        self._rate.load_state_dict(from_snapshot(snapshot.part("rate")))
        self._local_curvature.load_state_dict(from_snapshot(snapshot.part("local_curvature")))
        self._batches.restore(snapshot.part("batches"))
        if self._outer_batches is not None:
            self._outer_batches.restore(snapshot.part("outer_batches"))
        if steps and self._optimizer is not None:
            state = from_snapshot(snapshot.part("optimizer"))
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _check_optimizer(self, snapshot: Snapshot[Tensor]) -> None:
        """Whether the checkpoint's is that of the agent."""
        if ("optimizer" in snapshot.values) != (self._optimizer is not None):
            raise SnapshotError("one of checkpoint and agent has an optimizer, the other has none")
        if "optimizer_of" in snapshot.values:
            check_alike(snapshot.values["optimizer_of"], self._optimizer, "the hyperparameters")

    def _private(self) -> dict[str, dict[str, Tensor]]:
        return {
            "hyperparameters": self.hyperparameters,
            "hypergradient": self.hypergradient,
            "local": self.local,
            "local_adjoint": self.local_adjoint,
        }


def _flat(named: Mapping[str, Tensor]) -> Tensor:
    """All numbers, float64, in main memory."""
    return torch.cat([tensor.detach().reshape(-1).cpu().to(torch.float64) for tensor in named.values()])
