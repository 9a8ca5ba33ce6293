"""Consistent copies of an agent's personal model, made between two computations. An edge: asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from peer.predicting import personal_model
from peer.problem_details import RefusalError

if TYPE_CHECKING:
    from peer.assembly import TensorAgent
    from peer.predicting import PersonalModel
    from peer.torch_learner import TorchLearner

    Copied = PersonalModel | RefusalError  # what there is, or why there is nothing


class PersonalCopies:
    """Of one agent, for whoever asks while it learns.

    A computation changes the model, hyperparameters and local variables in a thread, and torch puts
    parameters into the one module meanwhile: nothing of that may be read before it is through. Invariant: a
    copy is made in the loop while no computation is under way, and once a tick at most.
    """

    def __init__(self, agent: TensorAgent, learner: TorchLearner[Any]) -> None:
        self._agent = agent
        self._learner = learner
        self._wanted: asyncio.Future[Copied] | None = None  # by those who wait for a computation
        self._newest: tuple[tuple[int, int], Copied] | None = None  # of which tick and epoch

    async def newest(self, *, computing: bool) -> PersonalModel:
        """A copy as of now, or as of the end of the computation under way. Raises `RefusalError`."""
        if not computing:
            found = self._copied()
        else:
            if self._wanted is None:
                self._wanted = asyncio.get_running_loop().create_future()
            found = await asyncio.shield(self._wanted)  # who gives up takes it from nobody
        if isinstance(found, RefusalError):
            raise found
        return found

    def computed(self) -> None:
        """A computation is through, and the next has not begun: give those who wait their copy."""
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.set_result(self._copied())

    def failed(self) -> None:
        """There will be no more: tell those who wait."""
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            peer = self._agent.identity.peer
            wanted.set_result(RefusalError(503, "agent", peer, "it has stopped: see its log"))

    def _copied(self) -> Copied:
        agent, learner = self._agent, self._learner
        moment = agent.ticks, agent.epoch
        if self._newest is None or self._newest[0] != moment:
            try:
                found: Copied = personal_model(
                    learner.problem,
                    learner.layout.unflatten(agent.solver.model.estimate),
                    learner.hyperparameters,
                    learner.local,
                    peer=agent.identity.peer,
                    tick=agent.ticks,
                    epoch=agent.epoch,
                )
            except RefusalError as error:
                found = error
            self._newest = moment, found
        return self._newest[1]
