"""Random networks with random tasks of samples: as unlike as what people bring, and not tidied for us."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from peer.module_problem import ModuleProblem
from peer.personalization.registry import personalization
from wire import Exponential, FaultPlan

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S: Final = 1.0
ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}


@dataclass(frozen=True, slots=True)
class Task:
    """One network and what its agents learn. Features are normal, times `scale`."""

    seed: int
    agents: int
    features: int
    scale: float
    classes: int  # 0: regression
    target_scale: float
    random_labels: float  # share of labels, or of the variance of targets, that nothing explains
    samples: int  # of each agent, for training; half as many for validation
    batch: int
    hidden: tuple[int, ...]
    activation: str
    weight_decay: float
    personalization: str
    faults: FaultPlan
    about: str  # in words

    def problems(self) -> list[ModuleProblem]:
        """One for each agent: the same rule, seen by each a little differently."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            rule = torch.randn(self.features, max(1, self.classes)) / math.sqrt(self.features)
            return [self._problem(rule, agent) for agent in range(self.agents)]

    def _problem(self, rule: Tensor, agent: int) -> ModuleProblem:
        own = rule + 0.3 * torch.randn_like(rule) / math.sqrt(self.features)
        training, validation = (self._samples(own, count) for count in (self.samples, self.samples // 2))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)  # all begin with the same module
            module = self._module()
        return ModuleProblem(
            module,
            training,
            validation,
            loss=nn.functional.cross_entropy if self.classes else nn.functional.mse_loss,
            personalization=personalization(self.personalization),
            weight_decay=self.weight_decay,
            batch_size=self.batch,
            seed=agent,
        )

    def _samples(self, rule: Tensor, count: int) -> tuple[Tensor, Tensor]:
        inputs = torch.randn(count, self.features)
        outputs = inputs @ rule
        if self.classes:
            chance = torch.randint(self.classes, (count,))
            targets = torch.where(torch.rand(count) < self.random_labels, chance, outputs.argmax(1))
        else:
            noise = torch.randn_like(outputs)
            explained = math.sqrt(1.0 - self.random_labels)
            targets = self.target_scale * (
                explained * torch.sin(2.0 * outputs) + math.sqrt(self.random_labels) * noise
            )
        return self.scale * inputs, targets

    def _module(self) -> nn.Module:
        layers: list[nn.Module] = []
        width = self.features
        for size in self.hidden:
            layers += [nn.Linear(width, size), ACTIVATIONS[self.activation]()]
            width = size
        return nn.Sequential(*layers, nn.Linear(width, max(1, self.classes)))


def draw_task(seed: int) -> Task:
    """The same for the same seed, on every machine but for rounding."""
    rng = random.Random(f"{seed}/minibatches")
    classes = rng.choice((0, 2, 10))
    hidden = tuple(rng.choice((8, 32, 64)) for _ in range(rng.randrange(3)))
    samples = rng.choice((20, 50, 100, 200, 400))
    names = ("none", "logits", "proximal", *(("head",) if hidden else ()))
    drop, delay = rng.choice((0.0, 0.1, 0.3)), rng.choice((0.0, 0.0, 1.0))
    task = Task(
        seed=seed,
        agents=rng.randint(2, 6),
        features=rng.choice((4, 16, 64, 256)),
        scale=rng.choice((0.1, 1.0, 1.0, 10.0, 100.0)),
        classes=classes,
        target_scale=1.0 if classes else rng.choice((1.0, 1.0, 30.0)),
        random_labels=rng.choice((0.0, 0.3, 1.0)),
        samples=samples,
        batch=min(samples, rng.choice((4, 16, 64))),
        hidden=hidden,
        activation=rng.choice(sorted(ACTIVATIONS)),
        weight_decay=rng.choice((0.0, 1e-4, 1e-2)),
        personalization=rng.choice(names),
        faults=FaultPlan(drop=drop, delay_s=Exponential(delay * TICK_S)) if delay else FaultPlan(drop=drop),
        about="",
    )
    outputs = f"{classes} classes" if classes else f"targets of size {task.target_scale:g}"
    layers = "-".join(map(str, (task.features, *hidden, max(1, classes))))
    about = (
        f"{task.agents} agents, {layers} {task.activation if hidden else 'linear'}, features of size "
        f"{task.scale:g}, {outputs}, {task.random_labels:.0%} chance, {samples} samples in batches of "
        f"{task.batch}, weight decay {task.weight_decay:g}, {task.personalization}, loss {drop:.0%}, "
        f"delay {delay:g}"
    )
    return replace(task, about=about)
