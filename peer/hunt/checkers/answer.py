"""Every agent that is there has to find the closed form of those that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.phase import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.hunt.processes import HuntSeat
    from peer.hunt.quadratics import Answer
    from peer.hunt.trial import Trial

ERROR_MAX = 1e-6  # of the largest number in the answer, or of 1


def wrong_answer(trial: Trial, core: Sequence[HuntSeat], answer: Answer) -> str:
    """Who is wrong and by how much; empty if nobody is."""
    for member, hypergradient in zip(core, answer.hypergradients, strict=True):
        life = trial.life_of(member)
        agent = life.agent
        if agent.phase is not Phase.RUNNING:
            return f"{member.peer} is {agent.phase.value}"
        for what, found, truth in (
            ("model", agent.solver.model.estimate.floats(), answer.model),
            ("adjoint", agent.solver.adjoint.estimate.floats(), answer.adjoint),
            ("hypergradient", life.learner.hypergradient.floats(), hypergradient),
        ):
            error = max(abs(a - b) for a, b in zip(found, truth, strict=True))
            error /= max(1.0, *(abs(value) for value in truth))
            if error > ERROR_MAX:
                return f"{what} of {member.peer} is wrong by {error:.1e} in epoch {agent.epoch}"
    return ""
