"""What a process that hosts some agents of a swarm answers to the page of all of them: JSON in, JSON out.

problems    null                                  why not all of its agents work, naming nobody
look        after_s or null                       curves, status, hyperparameters of its agents
faults      [agent...]                            what is set on links from them
set_faults  [[agent...], to, faults, duration_s]  "" or why it cannot be
clear       [[agent...], to]                      how many changes were taken back
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from wire import FaultChange, FaultPlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from peer.page.health import Health
    from peer.page.scene import Scene
    from wire import LiveFaults


class HostedAgents:
    """Agents of one process, by the names that the swarm's page has for them."""

    def __init__(
        self,
        scene: Scene,
        health: Health,
        faults: Mapping[str, LiveFaults],
        elapsed_s: Callable[[str], float],
    ) -> None:
        """`elapsed_s`: the time of the faults of an agent's links."""
        self._scene = scene
        self._health = health
        self._faults = faults
        self._elapsed_s = elapsed_s

    def answer(self, what: str, about: Any) -> object:
        """To one question."""
        match what:
            case "problems":
                return self._health.problems()
            case "look":
                return self._scene.agents(-math.inf if about is None else about)
            case "faults":
                return {name: self._faults[name].to_dict() for name in about}
            case "set_faults":
                return self._set_faults(*about)
            case _:
                names, to = about
                return sum(self._faults[name].clear(to) for name in names)

    def _set_faults(
        self, names: Sequence[str], to: str | None, faults: Mapping[str, Any] | None, duration_s: float | None
    ) -> str:
        change = None if faults is None else FaultChange.from_dict(faults)
        try:
            for name in names:
                self._faults[name].set(to, change, self._elapsed_s(name), duration_s)
        except FaultPlanError as error:
            return str(error)
        return ""
