"""Keeps what an agent has learned: checkpoints are written by a thread while the agent goes on ticking."""

from __future__ import annotations

import asyncio
import datetime
from typing import TYPE_CHECKING

from peer.checkpoints import Checkpoint
from peer.errors import StateError
from peer.snapshot import Snapshot, SnapshotError
from peer.tensors import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from peer.assembly import TensorAgent
    from peer.state import AgentState


class Keeper:
    """Writes one checkpoint at a time; of those that come meanwhile the newest waits.

    A disk that refuses one is told of once, and asked again when the next one comes.
    """

    def __init__(
        self,
        agent: TensorAgent,
        state: AgentState,
        say: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._agent = agent
        self._state = state
        self._say = say
        self._clock = clock
        self.ticks_before: int | None = 0  # of all lives before this one; None: not known
        self.kept_at: float | None = None  # when the last one was durable, in this life
        self._waiting: tuple[Snapshot[Tensor], int] | None = None  # and the epoch that it is of
        self._task: asyncio.Task[None] | None = None
        self._problem = ""

    def go_on(self) -> None:
        """Let the agent go on from the newest checkpoint, if there is one.

        Raises StateError if it is of something else.
        """
        checkpoint = self._state.checkpoint
        if checkpoint is None:
            return
        remedy = "start with the options, and the release, of then, or give another --state"
        model = self._agent.identity.fingerprint
        if checkpoint.model != model:
            raise StateError(
                f"state: the checkpoint of {checkpoint.saved_at} is of another task, model or solver "
                f"(fingerprint {checkpoint.model}, here {model}); {remedy}"
            )
        try:
            self._agent.restore(Snapshot(unpack(checkpoint.tensors), checkpoint.values))
        except SnapshotError as error:
            raise StateError(
                f"state: the checkpoint of {checkpoint.saved_at} does not fit: {error}; {remedy}"
            ) from None
        ticks = checkpoint.values.get("ticks")
        self.ticks_before = ticks if isinstance(ticks, int) else None

    def keep(self, snapshot: Snapshot[Tensor]) -> None:
        """Write this as soon as the one before is written. A bug in that surfaces here."""
        self._waiting = snapshot, self._state.epoch
        if self._task is not None and self._task.done():
            self._task.result()
        if self._task is None:
            self._task = asyncio.create_task(self._work())

    async def finish(self) -> None:
        """Until nothing waits."""
        if self._task is not None:
            await self._task

    async def _work(self) -> None:
        while self._waiting is not None:
            (snapshot, epoch), self._waiting = self._waiting, None
            try:
                await asyncio.to_thread(self._write, snapshot, epoch)
                self._problem = ""
                self.kept_at = self._clock()
            except StateError as error:
                if str(error) != self._problem:
                    self._say(f"no checkpoint was kept: {error}; learning goes on")
                self._problem = str(error)
        self._task = None

    def _write(self, snapshot: Snapshot[Tensor], epoch: int) -> None:
        agent = self._agent.identity
        self._state.keep_checkpoint(
            Checkpoint(
                identity=self._state.identity.fingerprint,
                model=agent.fingerprint,
                incarnation=agent.incarnation,
                epoch=epoch,
                saved_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                values=dict(snapshot.values),
                tensors=pack(snapshot.arrays),
            )
        )
