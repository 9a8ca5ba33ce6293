"""Agents that learn together without a server: the mathematics, the agent, the simulator, the program.

Names are loaded when first used, so that `hyperpush --help` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peer.data.mapped import mapped
    from peer.data.splitting import split
    from peer.embedded import Agent, run
    from peer.errors import HyperpushError, ProblemError, SettingError
    from peer.module_problem import ModuleProblem
    from peer.personalization import NoPersonalization, OutputBias, Personalization
    from peer.problem import BilevelProblem
    from peer.quadratic import ClosedForm, QuadraticProblem, bilevel_solution, closed_form
    from peer.run_result import RunResult, frame
    from peer.scenario import Join, Kill, Leave, Pause, Restart
    from peer.settings import AgentSettings
    from peer.virtual_swarm import AgentResult, SimulationResult, simulate

_HOMES = {
    "Agent": "peer.embedded",
    "AgentResult": "peer.virtual_swarm",
    "AgentSettings": "peer.settings",
    "BilevelProblem": "peer.problem",
    "ClosedForm": "peer.quadratic",
    "HyperpushError": "peer.errors",
    "Join": "peer.scenario",
    "Kill": "peer.scenario",
    "Leave": "peer.scenario",
    "ModuleProblem": "peer.module_problem",
    "NoPersonalization": "peer.personalization",
    "OutputBias": "peer.personalization",
    "Pause": "peer.scenario",
    "Personalization": "peer.personalization",
    "ProblemError": "peer.errors",
    "QuadraticProblem": "peer.quadratic",
    "Restart": "peer.scenario",
    "RunResult": "peer.run_result",
    "SettingError": "peer.errors",
    "SimulationResult": "peer.virtual_swarm",
    "bilevel_solution": "peer.quadratic",
    "closed_form": "peer.quadratic",
    "frame": "peer.run_result",
    "mapped": "peer.data.mapped",
    "run": "peer.embedded",
    "simulate": "peer.virtual_swarm",
    "split": "peer.data.splitting",
}

__all__ = [
    "Agent",
    "AgentResult",
    "AgentSettings",
    "BilevelProblem",
    "ClosedForm",
    "HyperpushError",
    "Join",
    "Kill",
    "Leave",
    "ModuleProblem",
    "NoPersonalization",
    "OutputBias",
    "Pause",
    "Personalization",
    "ProblemError",
    "QuadraticProblem",
    "Restart",
    "RunResult",
    "SettingError",
    "SimulationResult",
    "bilevel_solution",
    "closed_form",
    "frame",
    "mapped",
    "run",
    "simulate",
    "split",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'peer' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
