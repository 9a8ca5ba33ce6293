"""What is frozen is neither sent nor tracked nor kept twice: an agent costs what it learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import peer
from peer.assembly import make_agent
from peer.checkup.costs import measure
from peer.checkup.holdings import tensor_bytes
from peer.settings import AgentSettings

WIDTH, OUTPUTS, RANK = 2000, 5000, 14
BASE = WIDTH * OUTPUTS  # frozen parameters
LEARNED = RANK * (WIDTH + OUTPUTS) + 4 * OUTPUTS + 4


class Adapted(nn.Module):
    """A large frozen layer with a change of low rank that is learned, and a head."""

    def __init__(self, *, base: bool) -> None:
        super().__init__()
        if base:
            self.base = nn.Linear(WIDTH, OUTPUTS, bias=False).requires_grad_(False)
        self.down = nn.Linear(WIDTH, RANK, bias=False)
        self.up = nn.Linear(RANK, OUTPUTS, bias=False)
        self.head = nn.Linear(OUTPUTS, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        change = self.up(self.down(inputs))
        outputs: Tensor = self.head(
            torch.tanh(self.base(inputs) + change if hasattr(self, "base") else change)
        )
        return outputs


@pytest.fixture(scope="module")
def module() -> Adapted:
    torch.manual_seed(0)
    return Adapted(base=True)


def problem(module: nn.Module) -> peer.ModuleProblem:
    inputs = torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(1))
    targets = torch.arange(8) % 4
    return peer.ModuleProblem(module, (inputs[:4], targets[:4]), (inputs[4:], targets[4:]))


def test_an_agent_costs_what_it_learns_whatever_is_frozen(module: Adapted) -> None:
    """Reference: an agent with the same that is learned and no base. `pytest -n 0 -s` prints the figures."""
    settings = AgentSettings(model_step_size=0.1, adjoint_step_size=0.1)
    with_base = measure([problem(module) for _ in range(2)], settings, 0.0)
    without = measure([problem(Adapted(base=False)) for _ in range(2)], settings, 0.0)
    assert with_base.parameters == without.parameters == LEARNED
    assert with_base.bytes_per_tick == pytest.approx(without.bytes_per_tick, rel=1e-3)
    assert with_base.held_bytes == without.held_bytes
    share = LEARNED / (BASE + LEARNED)
    print(f"\n{LEARNED:,} of {BASE + LEARNED:,} parameters are learned, {share:.2%}:")
    print(
        f"an agent holds {with_base.held_bytes / 2**20:.1f} MiB beside a base of {4 * BASE / 2**20:.1f} MiB"
    )
    print(f"a tick sends {with_base.bytes_per_tick / 1e6:.2f} MB to each")
    assert 8 * LEARNED <= with_base.held_bytes <= 160 * LEARNED  # vectors of 8 and 4 bytes a parameter
    assert with_base.bytes_per_tick <= 17 * LEARNED  # four numbers of 4 bytes a parameter, and a few words
    assert with_base.held_bytes < 4 * BASE / 2


def test_a_base_is_there_once_for_all_agents_and_for_their_predictions(module: Adapted) -> None:
    made = [problem(module) for _ in range(2)]
    assert all(one.module.base.weight is module.base.weight for one in made)  # type: ignore[union-attr]
    assert all("base.weight" not in one.parameters for one in made)
    personal = made[0].personal_module(made[0].model, {})
    (copy,) = personal.learners
    assert copy.base.weight is module.base.weight  # type: ignore[union-attr]
    assert copy.head.weight is not module.head.weight  # type: ignore[union-attr]
    inputs = made[0].training_set[0]
    assert torch.equal(personal(inputs), made[0].predict(made[0].model, {}, inputs))
    agent, learner = make_agent(made[0], AgentSettings(), peer="a", swarm="s", seed=0, now=0.0, founder=True)
    assert "base" not in learner.layout.describe()
    kept = learner.snapshot()
    assert sum(tensor.numel() for tensor in kept.arrays.values()) < LEARNED
    assert tensor_bytes(agent) < 160 * LEARNED
