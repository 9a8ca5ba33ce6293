"""`hyperpush bench tick`: what one tick of an agent takes, beside the calls of torch that it has to make."""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import torch
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn

from peer import heap
from peer.bench.ring import PURPOSES, VECTORS, Ring
from peer.data.inputs import applied, rows_of
from peer.display import make_console
from peer.errors import SettingError
from peer.jsonable import check_json, write_json
from peer.module_problem import ModuleProblem
from peer.personalization import OutputBias
from peer.recorder import versions
from peer.settings import AgentSettings
from peer.worker_threads import one_thread

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from peer.data.inputs import Samples

AGENTS: Final = 4  # each hears all others, as with the fanout of 3 that is the default
ROUNDS: Final = 5  # ours and bare, one after the other, so often
BATCHES: Final = 4  # of training and of validation samples: more tell nothing about time
WARM_UP_TICKS: Final = 2.0
SETTLING_TICKS: Final = 12  # at most: until steps are chosen and what is made once is made,
SETTLING_SHARE: Final = 0.5  # or so much of the time is gone
COPIED_BYTES: Final = 2**27  # by memcpy, more than any cache holds

# Bytes that one tick must read and write for each parameter of the model: float64 for what an agent keeps,
# float32 for gradients and for what is on the wire. Both streams.
KEPT_VECTORS: Final = 3  # x, m, y: each read and written once
KEPT_NARROW_VECTORS: Final = 2  # g, sigma: the same
OUT_VECTORS: Final = 2  # v, sigma, rounded for the wire
HEARD_VECTORS: Final = 3  # for each neighbour: its v, its sigma, and the sigma that came before
STREAMS: Final = 2

CAPTION: Final = f"""\
Milliseconds of one agent; medians of {ROUNDS} interleaved rounds. One thread, {AGENTS} agents in one process
that hand messages to each other: each tick takes in those of {AGENTS - 1} others, averages, differentiates,
steps, and announces all of both streams.
  bare         a loop of torch calls alone: gradient of the training loss, that of the validation loss,
               both second-order products from one graph
  derivatives  the same in an agent, with batches, named tensors, now and then one more product for the steps
  vectors      averaging, tracking, momentum, running sums, checks of what was heard, choice of steps
  messages     one frame made, {AGENTS - 1} read, for each block of at most 1 MiB
  protocol     membership, liveness, inbox
  bandwidth    of vectors: bytes that must be moved a second ({{implied}} for each parameter), as a share of
               what memcpy moves"""


class PaperNet(nn.Module):
    """The convolutional net of the method's paper (section 5.2, EMNIST): 2.28 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 32, 5)
        self.second = nn.Conv2d(32, 64, 5)
        self.hidden = nn.Linear(64 * 4 * 4, 2048)
        self.outputs = nn.Linear(2048, 62)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, 28, 28) to (n, 62)."""
        found = nn.functional.max_pool2d(torch.relu(self.first(images)), 2)
        found = nn.functional.max_pool2d(torch.relu(self.second(found)), 2)
        outputs: Tensor = self.outputs(torch.relu(self.hidden(found.flatten(1))))
        return outputs


@dataclass(frozen=True, slots=True)
class Case:
    """One model; `ratio_max` is what ours may take, of bare; `bandwidth_min` what vectors must reach."""

    name: str
    make: Callable[[], nn.Module]
    inputs: tuple[int, ...]
    classes: int
    batch: int
    ratio_max: float | None = None
    bandwidth_min: float | None = None


def _mlp(*sizes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for first, second in pairwise(sizes):
        layers += [nn.Linear(first, second), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


CASES: Final = {
    case.name: case
    for case in (
        Case("small", lambda: _mlp(64, 64, 10), (64,), 10, 32, ratio_max=1.5),
        Case("convolutional", PaperNet, (1, 28, 28), 62, 128, ratio_max=1.1),
        Case("large", lambda: _mlp(784, 2800, 2800, 62), (784,), 62, 32, bandwidth_min=0.6),
    )
}


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one tick of one agent."""

    bare_s: float
    spent_s: dict[str, float]
    copied_bytes_per_s: float

    @property
    def ours_s(self) -> float:
        """All of it."""
        return sum(self.spent_s.values())

    @property
    def ratio(self) -> float:
        """Ours / bare."""
        return self.ours_s / self.bare_s


@dataclass(frozen=True, slots=True)
class Row:
    """One model."""

    case: str
    parameters: int
    batch: int
    rounds: tuple[Round, ...]

    def median(self, value: Callable[[Round], float]) -> float:
        """Over the rounds."""
        return statistics.median(map(value, self.rounds))

    @property
    def bandwidth(self) -> float:
        """Of vectors, as a share of memcpy's."""
        moved = implied_bytes() * self.parameters
        return self.median(lambda one: moved / one.spent_s[VECTORS] / one.copied_bytes_per_s)


def implied_bytes() -> int:
    """Of each parameter, in one tick."""
    heard = 4 * HEARD_VECTORS * (AGENTS - 1)
    kept = 2 * 8 * KEPT_VECTORS + 2 * 4 * KEPT_NARROW_VECTORS
    return STREAMS * (kept + 4 * OUT_VECTORS + 4 + heard)


def main(options: argparse.Namespace) -> int:
    """Measure, print the table, and write it with `--json`; 0 also if a target is missed.

    Raises `SettingError` for a model that there is not.
    """
    cases = chosen_cases(options.models)
    check_json(options.json)
    console = make_console()
    heap.share_one()  # as agents do
    with one_thread(), Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("measuring", total=len(cases) * ROUNDS)

        def tell(case: str) -> None:
            progress.update(bar, advance=1, description=case)

        rows = [measure(case, options.seconds, tell) for case in cases]
    console.print(as_table(rows))
    console.print(CAPTION.format(implied=implied_bytes()))
    for line in verdict(rows):
        console.print(line)
    if options.json is not None:
        write_json(options.json, as_json(rows))
    return 0


def chosen_cases(names: str) -> list[Case]:
    """Of these models, separated by commas. Raises `SettingError` for one that there is not."""
    for name in names.split(","):
        if name not in CASES:
            raise SettingError("models", name, f"give some of {','.join(CASES)}")
    return [CASES[name] for name in names.split(",")]


def measure(case: Case, seconds: float, tell: Callable[[str], None]) -> Row:
    """Of one model, for about `seconds` after what has to be waited for at the beginning."""
    problems = [make_problem(case, seed) for seed in range(AGENTS)]
    ring = Ring(problems, AgentSettings(warm_up_ticks=WARM_UP_TICKS, tick_jitter=0.0, evaluate_every=0))
    bare = Bare(problems[0], case.batch)
    ring.settle()
    _times(ring.tick, SETTLING_SHARE * seconds, SETTLING_TICKS)
    bare.tick()
    rounds = []
    for _ in range(ROUNDS):
        share_s = seconds / ROUNDS
        bare_s = _each_s(bare.tick, share_s / 4)
        before = dict(ring.spent_s)
        ticks = AGENTS * _times(ring.tick, share_s)
        spent_s = {purpose: (ring.spent_s[purpose] - before[purpose]) / ticks for purpose in PURPOSES}
        rounds.append(Round(bare_s, spent_s, _memcpy()))
        tell(case.name)
    return Row(case.name, ring.agents[0].solver.model.estimate.numel(), case.batch, tuple(rounds))


class Bare:
    """The same derivatives of the same losses, and nothing else: no batch is drawn, no vector moved."""

    def __init__(self, problem: ModuleProblem, batch: int) -> None:
        self._module = problem.module
        self._parameters = list(self._module.parameters())
        self._adjoint = [torch.zeros_like(tensor) for tensor in self._parameters]
        (bias,) = problem.hyperparameters.values()
        self._bias = bias.clone().requires_grad_()
        self._train = rows_of(problem.training_set, slice(batch))
        self._validation = rows_of(problem.validation_set, slice(batch))

    def tick(self) -> object:
        """Once."""
        inner = self._loss(self._train)
        gradients = torch.autograd.grad(inner, self._parameters, create_graph=True)
        products = [torch.sum(r * p) for r, p in zip(gradients, self._adjoint, strict=True)]
        phi = torch.stack(products).sum() - self._loss(self._validation)
        return torch.autograd.grad(phi, [*self._parameters, self._bias])

    def _loss(self, samples: Samples) -> Tensor:
        inputs, targets = samples
        return nn.functional.cross_entropy(applied(self._module, inputs) + self._bias, targets)


def make_problem(case: Case, seed: int) -> ModuleProblem:
    """Random samples, another seed others; one initial model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = case.make()
        torch.manual_seed(seed + 1)
        samples = [
            (
                torch.randn(BATCHES * case.batch, *case.inputs),
                torch.randint(case.classes, (BATCHES * case.batch,)),
            )
            for _ in range(2)
        ]
    return ModuleProblem(module, *samples, personalization=OutputBias(), batch_size=case.batch, seed=seed)


def _times(work: Callable[[], object], seconds: float, at_most: int = sys.maxsize) -> int:
    """How often, for about so long; once at least."""
    until, count = time.perf_counter() + seconds, 0
    while not count or (count < at_most and time.perf_counter() < until):
        work()
        count += 1
    return count


def _each_s(work: Callable[[], object], seconds: float) -> float:
    """How long it takes, in the mean."""
    began = time.perf_counter()
    count = _times(work, seconds)
    return (time.perf_counter() - began) / count


def _memcpy() -> float:
    """Bytes read and written a second."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8)
    target = torch.empty_like(source)
    target.copy_(source)
    began = time.perf_counter()
    target.copy_(source)
    return 2 * COPIED_BYTES / (time.perf_counter() - began)


def as_table(rows: Sequence[Row]) -> Table:
    """For people: milliseconds."""
    table = Table(header_style="bold")
    table.add_column("model", no_wrap=True)
    headings = ("parameters", "batch", "bare ms", "ours ms", "ratio", *PURPOSES, "bandwidth")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        spent = [f"{1e3 * row.median(lambda one, p=purpose: one.spent_s[p]):.3g}" for purpose in PURPOSES]  # type: ignore[misc]
        table.add_row(
            row.case,
            f"{row.parameters:,}",
            str(row.batch),
            f"{1e3 * row.median(lambda one: one.bare_s):.3g}",
            f"{1e3 * row.median(lambda one: one.ours_s):.3g}",
            f"{row.median(lambda one: one.ratio):.2f}",
            *spent,
            f"{row.bandwidth:.2f}",
        )
    return table


def verdict(rows: Sequence[Row]) -> list[str]:
    """One line for each target, reached or not."""
    lines = []
    for row in rows:
        case = CASES[row.case]
        if case.ratio_max is not None:
            ratio = row.median(lambda one: one.ratio)
            word = "reaches" if ratio <= case.ratio_max else "misses"
            lines.append(f"{row.case}: {ratio:.2f} times bare {word} the target of {case.ratio_max:g}.")
        if case.bandwidth_min is not None:
            word = "reaches" if row.bandwidth >= case.bandwidth_min else "misses"
            lines.append(
                f"{row.case}: {row.bandwidth:.2f} of the bandwidth of memcpy {word} the target of "
                f"{case.bandwidth_min:g}."
            )
    return lines


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """For programs, with every round."""
    return {
        "processors": os.cpu_count(),
        "versions": versions(),
        "bytes_per_parameter": implied_bytes(),
        "rows": [asdict(row) for row in rows],
    }
