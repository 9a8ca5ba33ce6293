"""A few agents that hand messages to each other at once: only what agents do takes time. For `bench tick`.

Each message is encoded once and decoded by every target, as on real links; there are no sockets, no threads
and no waiting.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from peer.assembly import decode, encode, make_agent
from peer.events import Compute, Send
from peer.phase import Phase
from peer.scenario import member_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from peer.assembly import TensorAgent
    from peer.events import Effect
    from peer.learner import Evaluation
    from peer.problem import BilevelProblem
    from peer.settings import AgentSettings
    from peer.torch_learner import TorchLearner

LATE: Final = 1.5  # of a tick passes between two: every agent is due every time

DERIVATIVES: Final = "derivatives"
VECTORS: Final = "vectors"
MESSAGES: Final = "messages"
PROTOCOL: Final = "protocol"
PURPOSES: Final = (DERIVATIVES, VECTORS, MESSAGES, PROTOCOL)


class Ring:
    """Agents of these problems; `spent_s` says where the time of all ticks so far went.

    derivatives: what the problem and autograd take; vectors: the rest of a tick's mathematics; messages:
    frames made and read; protocol: all else.
    """

    def __init__(
        self,
        problems: Sequence[BilevelProblem[Any]],
        settings: AgentSettings,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.spent_s = dict.fromkeys(PURPOSES, 0.0)
        self.sent_bytes = self.messages = 0  # of all, to each target
        self._clock = clock
        self._step_s = LATE * settings.tick_s
        self._now = 0.0
        self._agents: dict[str, TensorAgent] = {}
        names = member_names(len(problems))
        for name, problem in zip(names, problems, strict=True):
            agent, learner = make_agent(
                problem, settings, peer=name, swarm="bench", seed=0, now=0.0, founder=True
            )
            agent.solver.learner = _TimedLearner(learner, self)
            self._agents[name] = agent
        for name, agent in self._agents.items():
            for other in names:
                if other != name:
                    agent.peer_seen(other, 0, 0.0)

    @property
    def agents(self) -> Sequence[TensorAgent]:
        """In the order of their problems."""
        return list(self._agents.values())

    def settle(self) -> None:
        """Until all take steps."""
        while any(agent.phase is not Phase.RUNNING for agent in self._agents.values()):
            self.tick()

    def tick(self) -> None:
        """One of every agent."""
        self._now += self._step_s
        for agent in self._agents.values():
            self.timed(PROTOCOL, agent.handle_timer, self._now)
            self._carry_out(agent, agent.take_effects())
            agent.take_events()

    def timed(self, purpose: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """What it gives; how long it took is spent on this purpose."""
        began = self._clock()
        found = work(*arguments)
        self.spent_s[purpose] += self._clock() - began
        return found

    def _carry_out(self, agent: TensorAgent, effects: Sequence[Effect[Tensor]]) -> None:
        for effect in effects:
            match effect:
                case Compute(work):
                    within_s = self.spent_s[DERIVATIVES]
                    result = self.timed(VECTORS, work)
                    self.spent_s[VECTORS] -= self.spent_s[DERIVATIVES] - within_s
                    self.timed(PROTOCOL, agent.computed, result, self._now)
                    self._carry_out(agent, agent.take_effects())
                case Send(targets, push):
                    frame = self.timed(MESSAGES, encode, push)
                    for target in targets:
                        self.sent_bytes += len(frame)
                        self.messages += 1
                        arrived = self.timed(MESSAGES, decode, frame)
                        self.timed(PROTOCOL, self._agents[target].receive, arrived, self._now)
                case _:
                    pass  # disks take no time, and addresses lead nowhere


class _TimedLearner:
    """A learner whose time is spent on derivatives."""

    def __init__(self, learner: TorchLearner[Any], ring: Ring) -> None:
        self._learner = learner
        self._ring = ring

    def evaluate(self, *arguments: Any) -> Evaluation[Tensor]:
        found: Evaluation[Tensor] = self._ring.timed(DERIVATIVES, self._learner.evaluate, *arguments)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learner, name)
