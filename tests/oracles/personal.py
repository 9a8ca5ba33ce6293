"""Small problems with anything personal, in float64, and what is known of each personalization."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from peer.derivatives import Losses
from peer.module_problem import ModuleProblem
from peer.personalization import personalization

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Named = Mapping[str, Tensor]

SINGLE = (
    *("none", "bias", "logits", "class-weights", "sample-weights", "regularization", "mixture:3"),
    *("head", "own:*.bias", "features", "lora:1", "interpolation", "proximal"),
)
COMBINED = (
    *("mixture:2+class-weights", "mixture:3+logits", "head+logits", "proximal+class-weights"),
    *("lora:1+logits+sample-weights", "head+lora:1", "features+head+lora:1", "mixture:2+head"),
    *("mixture:2+proximal", "interpolation+mixture:2+regularization", "class-weights+sample-weights"),
    *("bias+features+mixture:2+regularization+sample-weights", "head+own:1.*+logits"),
)
WITH_LOCAL = ("head", "own:*.bias", "features", "lora:1", "interpolation", "proximal")
CLASSES, INPUTS, HIDDEN, COUNT = 3, 3, 2, 7
DECAY = 0.05
PULL = -2.0  # of every strength, before the sigmoid: not flat


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def tiny_module(seed: int = 5) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    # No layer before the normalization: its scale would have no influence, but on the decay.
    norm = nn.LayerNorm(INPUTS, eps=0.5)
    module = nn.Sequential(norm, nn.Linear(INPUTS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES)).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(normal(generator, *parameter.shape))
    return module


def tiny_samples(generator: torch.Generator, count: int = COUNT) -> tuple[Tensor, Tensor]:
    """Every class at least once."""
    targets = torch.randint(0, CLASSES, (count,), generator=generator)
    targets[:CLASSES] = torch.arange(CLASSES)
    return normal(generator, count, INPUTS) + 3 * torch.eye(CLASSES)[targets], targets


def convex_module() -> nn.Module:
    """With little more than one layer: next to convex, so that a swarm is there after a few ticks."""
    generator = torch.Generator().manual_seed(5)
    module = nn.Sequential(nn.LayerNorm(INPUTS, eps=0.5), nn.Linear(INPUTS, CLASSES)).double()
    with torch.no_grad():
        for parameter in module[1].parameters():
            parameter.copy_(0.3 * normal(generator, *parameter.shape))
    return module


def tiny_problem(text: str, seed: int = 0, module: nn.Module | None = None, **more: Any) -> ModuleProblem:
    """One agent's; those of other seeds have other data and the same model. Batches are whole sets."""
    generator = torch.Generator().manual_seed(seed)
    train, validation, test = (tiny_samples(generator) for _ in range(3))
    keywords: dict[str, Any] = {"weight_decay": DECAY, "personalization": personalization(text), **more}
    return ModuleProblem(module or tiny_module(), train, validation, test, **keywords)


def moved(named: Named, seed: int, scale: float = 0.3) -> dict[str, Tensor]:
    """Away from the initial values; strengths become firm."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.full_like(tensor, PULL)
        if name.endswith(".strength")
        else tensor + scale * normal(generator, *tensor.shape)
        for name, tensor in named.items()
    }


def descended(problems: Sequence[ModuleProblem], steps: int = 150) -> Tensor:
    """(x, z_1 .. z_n), flat, after so many steps with momentum: in the basin of a minimum."""
    losses = [bound(problem) for problem in problems]
    x, *zs = (
        {k: t.clone() for k, t in one.items()} for one in (problems[0].model, *[p.local for p in problems])
    )
    velocity = [{k: torch.zeros_like(t) for k, t in named.items()} for named in (x, *zs)]
    for _ in range(steps):
        for named in (x, *zs):
            for tensor in named.values():
                tensor.requires_grad_()
        shared = torch.stack(
            [loss.inner(x, p.hyperparameters, z) for loss, p, z in zip(losses, problems, zs, strict=True)]
        ).mean()
        gradients = [torch.autograd.grad(shared, list(x.values()), retain_graph=True)]
        for loss, p, z in zip(losses, problems, zs, strict=True):
            own = (loss.local or loss.inner)(x, p.hyperparameters, z) if z else None
            gradients.append(torch.autograd.grad(own, list(z.values())) if own is not None else ())
        for named, moving, found in zip((x, *zs), velocity, gradients, strict=True):
            for name, gradient in zip(list(named), found, strict=True):
                moving[name] = 0.85 * moving[name] - 0.3 * gradient
                named[name] = named[name].detach() + moving[name]
    flat = [t.detach().reshape(-1) for named in (x, *zs) for t in named.values()]
    return torch.cat(flat)


def bound(problem: ModuleProblem) -> Losses:
    """Losses with whole sets filled in."""

    def call(loss: Any, batch: Any, model: Named, hyperparameters: Named, local: Named) -> Tensor:
        found: Tensor = loss(model, hyperparameters, batch, local)
        return found

    train, validation = next(problem.batches()), next(problem.outer_batches())
    own = getattr(problem, "local_loss", None)
    return Losses(
        inner=partial(call, problem.inner_loss, train),
        outer=partial(call, problem.outer_loss, validation),
        local=None if own is None else partial(call, own, train),
    )
