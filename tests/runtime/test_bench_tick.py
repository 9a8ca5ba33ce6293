"""`hyperpush bench tick`: agents learn in it, bare calls give the same derivatives, times add up."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import torch

from peer.bench import tick
from peer.bench.ring import DERIVATIVES, MESSAGES, PROTOCOL, PURPOSES, VECTORS, Ring
from peer.bench.tick import AGENTS, CASES, ROUNDS, Bare, Row, implied_bytes, verdict
from peer.cli import main
from peer.settings import AgentSettings
from peer.torch_learner import TorchLearner

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SMALL = CASES["small"]


def test_agents_of_a_ring_hear_each_other_and_learn() -> None:
    problems = [tick.make_problem(SMALL, seed) for seed in range(3)]
    seconds = iter(range(10**9))
    settings = AgentSettings(tick_jitter=0.0, warm_up_ticks=2.0)
    ring = Ring(problems, settings, clock=lambda: float(next(seconds)))
    ring.settle()
    first = [agent.progress.report.training_loss for agent in ring.agents]
    before = [agent.ticks for agent in ring.agents]
    spent = dict(ring.spent_s)
    for _ in range(60):
        ring.tick()
    assert [agent.ticks - ticks for agent, ticks in zip(ring.agents, before, strict=True)] == [60] * 3
    assert sum(agent.progress.report.training_loss for agent in ring.agents) < 0.9 * sum(first)
    # Each look at this clock is a second later: what is counted here is how often, and what lies within what.
    spent = {purpose: ring.spent_s[purpose] - spent[purpose] for purpose in PURPOSES}
    assert spent[DERIVATIVES] == 60 * 3
    assert spent[VECTORS] == 60 * 3 * 2, "an evaluation is within a computation, and not of it"
    assert spent[MESSAGES] == 60 * 3 * (1 + 2), "made once, read by both others"
    assert spent[PROTOCOL] == 60 * 3 * (2 + 2)


def test_bare_calls_give_the_derivatives_of_the_agent() -> None:
    problem = tick.make_problem(SMALL, 3)
    bare = Bare(problem, SMALL.batch)
    learner = TorchLearner(problem)
    generator = torch.Generator().manual_seed(1)
    adjoint = torch.randn(learner.layout.size, generator=generator)
    named = learner.layout.unflatten(adjoint)
    bare._adjoint = list(named.values())
    batches = {"train": problem.training_set, "validation": problem.validation_set}
    inner, outer = (tuple(tensor[: SMALL.batch] for tensor in samples) for samples in batches.values())
    learner._batches, learner._outer_batches = iter([inner]), iter([outer])  # type: ignore[assignment]
    found = learner.evaluate(learner.initial_model, adjoint, 0.0)
    *pulled, hyper = bare.tick()
    assert torch.allclose(torch.cat([one.reshape(-1) for one in pulled]), found.adjoint_gradient, atol=1e-6)
    (hypergradient,) = learner._sum.values()
    assert torch.allclose(-hyper, hypergradient, atol=1e-6)


def test_the_command_prints_and_keeps_what_it_has_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tick.json"
    threads = torch.get_num_threads()
    assert main(["bench", "tick", "--models", "small", "--seconds", "0.3", "--json", str(file)]) == 0
    assert torch.get_num_threads() == threads
    content = json.loads(file.read_text())
    (row,) = content["rows"]
    assert (row["case"], row["parameters"], row["batch"]) == ("small", 4_810, 32)
    assert len(row["rounds"]) == ROUNDS
    for one in row["rounds"]:
        assert min(one["bare_s"], one["copied_bytes_per_s"], *one["spent_s"].values()) > 0.0
    printed = capsys.readouterr().out
    assert "4,810" in printed
    assert printed.count("the target of 1.5") == 1
    assert str(content["bytes_per_parameter"]) in printed


def test_targets_are_held_against_medians() -> None:
    spent = {DERIVATIVES: 1.0, VECTORS: 1.0, MESSAGES: 0.5, PROTOCOL: 0.5}
    one = tick.Round(bare_s=2.0, spent_s=spent, copied_bytes_per_s=implied_bytes() * 100.0)
    slow = tick.Round(bare_s=0.1, spent_s=spent, copied_bytes_per_s=math.inf)
    rows = [Row("small", 80, 32, (one, one, slow)), Row("large", 50, 32, (one, one, slow))]
    assert [row.median(lambda at: at.ratio) for row in rows] == [1.5, 1.5]
    assert [row.bandwidth for row in rows] == [0.8, 0.5]
    assert verdict(rows) == [
        "small: 1.50 times bare reaches the target of 1.5.",
        "large: 0.50 of the bandwidth of memcpy misses the target of 0.6.",
    ]


def test_the_models_are_as_large_as_their_names_say() -> None:
    with torch.random.fork_rng(devices=[]):
        sizes = {name: sum(p.numel() for p in case.make().parameters()) for name, case in CASES.items()}
    assert sizes == {"small": 4_810, "convolutional": 2_278_334, "large": 10_214_462}


def test_bytes_that_must_be_moved_are_counted() -> None:
    """Of each stream: 6 vectors of float64 in and out, the gradient, 2 of float32 out, 3 for 3 neighbours."""
    assert AGENTS == 4
    assert implied_bytes() == 2 * (3 * 8 * 2 + 2 * 4 * 2 + 4 + 2 * 4 + 3 * 3 * 4)


def test_another_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "tick", "--models", "small,huge"]) == 2
    told = capsys.readouterr().err
    assert "models: 'huge' is not possible; give some of small,convolutional,large" in told
