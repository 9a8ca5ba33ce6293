"""Restarts with state: no number on disk is used twice, and what comes back listens before it speaks."""

from __future__ import annotations

import pytest
import torch

import peer
from peer.events import EpochEntered
from wire import FaultPlan


@pytest.mark.parametrize(
    ("notice_s", "killed_s", "back_s"),
    [
        ((0.0, 0.2), 10.0, 13.0),  # the others know that it is gone, and are in the epoch it would found
        ((0.0, 5.0), 10.0, 11.0),  # some hear that it is back before they hear that it was gone
    ],
)
def test_who_restarts_does_not_disturb_and_is_counted_again(
    notice_s: tuple[float, float], killed_s: float, back_s: float
) -> None:
    """Reference: DESIGN (Epochs): a restart enters what it hears, or persisted + 1 if that is higher."""
    generator = torch.Generator().manual_seed(0)
    problems = [
        peer.QuadraticProblem.random(generator, dimension=6, condition=6, hyper_dimension=2) for _ in range(6)
    ]
    truth = peer.closed_form(problems).model
    result = peer.simulate(
        problems,
        faults=FaultPlan(drop=0.2),
        ticks=800,
        model_step_size=0.3,
        adjoint_step_size=0.3,
        momentum=0.5,
        wire_dtype="float64",
        scenario=[peer.Kill(2, killed_s), peer.Restart(2, back_s)],
        notice_s=notice_s,
        epoch_warm_ups_min=3,
    )
    for agent in result.agents:
        assert float((agent.model["x"] - truth).norm() / truth.norm()) < 1e-6
    entered = [
        event for _, who, event in result.events if who == "agent-2" and isinstance(event, EpochEntered)
    ]
    assert [event.reason for event in entered[:2]] == ["founded", "joined"]
    numbers = [event.epoch for event in entered]
    assert numbers == sorted(set(numbers))
