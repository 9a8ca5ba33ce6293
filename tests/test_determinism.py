"""Equal arguments, equal bits: across runs, processes and PYTHONHASHSEED. DESIGN, section 3."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

import peer
import wire
from tests.recording import first_difference, recorded

ROOT = Path(__file__).resolve().parents[1]
TICK_S = 0.05


def arguments(seed: int = 0) -> dict[str, Any]:
    """A bit of all: faults, speeds, blocks, momentum, local steps, hyper steps, changing members."""
    return {
        "faults": wire.FaultPlan(drop=0.3, delay_s=wire.Exponential(TICK_S), duplicate=0.1, reorder=0.1),
        "ticks": 70,
        "tick_s": TICK_S,
        "seed": seed,
        "speeds": [1.0, 2.0, 1.0, 3.0],
        "scenario": [peer.Kill(2, 20 * TICK_S), peer.Restart(2, 45 * TICK_S), peer.Join(3, 30 * TICK_S)],
        "notice_s": (0.0, 0.5),
        "fanout": 2,
        "block_fraction": 0.5,
        "momentum": 0.5,
        "local_steps": 2,
        "hyper_step_size": 0.01,
        "warm_up_ticks": 5,
        "epoch_warm_ups_min": 1,
    }


def quadratics() -> list[peer.QuadraticProblem]:
    generator = torch.Generator().manual_seed(0)
    return [peer.QuadraticProblem.random(generator, dimension=6) for _ in range(4)]


def networks() -> list[peer.ModuleProblem]:
    """Float32 networks with minibatches: every sum's order matters."""
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def samples() -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(24, 5, generator=generator), torch.randint(3, (24,), generator=generator)

    return [
        peer.ModuleProblem(
            module, samples(), samples(), samples(), personalization=peer.OutputBias(), batch_size=8, seed=i
        )
        for i in range(4)
    ]


def same_bits(problems: Any) -> peer.SimulationResult:
    one, result = recorded(problems(), **arguments())
    other, again = recorded(problems(), **arguments())
    assert first_difference(one, other) is None, first_difference(one, other)
    assert result.digest == again.digest
    for agent, twin in zip(result.agents, again.agents, strict=True):
        for name in ("model", "adjoint", "hypergradient", "hyperparameters"):
            left, right = getattr(agent, name), getattr(twin, name)
            assert all(torch.equal(left[key], right[key]) for key in left), name
        assert agent.counters == twin.counters
        assert agent.metrics == twin.metrics
    assert result.events == again.events
    assert len(one) > 300
    return result


def test_two_runs_are_equal_bit_for_bit() -> None:
    same_bits(quadratics)


def test_two_runs_of_networks_are_equal_bit_for_bit() -> None:
    result = same_bits(networks)
    assert set(result.agents[0].metrics) == {"shared", "personal"}


def test_the_caller_s_random_streams_and_threads_are_left_alone() -> None:
    problems, threads = networks(), torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = torch.rand(3)
        torch.manual_seed(1)
        peer.simulate(problems, **{**arguments(), "ticks": 20, "scenario": ()})
        assert torch.equal(torch.rand(3), first)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_another_seed_is_another_run() -> None:
    assert (
        peer.simulate(quadratics(), **arguments(0)).digest
        != peer.simulate(quadratics(), **arguments(1)).digest
    )


def test_the_order_of_sets_reaches_no_message() -> None:
    """The digest in processes with other hash seeds is that of this one."""
    program = (
        "import peer; from tests.test_determinism import arguments, quadratics\n"
        "print(peer.simulate(quadratics(), **arguments()).digest)"
    )
    expected = peer.simulate(quadratics(), **arguments()).digest
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() == expected


def test_progress_changes_nothing() -> None:
    seen: list[float] = []
    watched = peer.simulate(
        quadratics(), progress=lambda swarm: seen.append(swarm.simulation.now), **arguments()
    )
    assert watched.digest == peer.simulate(quadratics(), **arguments()).digest
    assert len(seen) == 70


def test_the_first_difference_is_named() -> None:
    """Not only that two traces differ, but where."""
    one, _ = recorded(quadratics(), **arguments(0))
    other, _ = recorded(quadratics(), **arguments(1))
    difference = first_difference(one, other)
    assert difference is not None
    assert difference.startswith("record ")
    assert " instead of at " in difference
    changed = [*one[:40], one[40] + b"x", *one[41:]]
    found = first_difference(one, changed)
    assert found is not None
    assert found.startswith("record 40: ")
    assert first_difference(one, one[:-1]) is not None
    assert "the trace has ended" in str(first_difference(one, one[:-1]))
    assert first_difference(one, list(one)) is None
