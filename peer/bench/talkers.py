"""Two agents for `hyperpush bench wire`: one makes messages, the other takes them in. Neither learns."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING, Final

import torch

from peer.assembly import make_agent
from peer.orders import BlockPush
from peer.sealing import Bare, Seal, Sealed
from peer.settings import AgentSettings
from peer.state import ephemeral
from wire import (
    MESSAGE_BYTES_MAX,
    PROTOCOL_VERSION,
    Heard,
    Heartbeat,
    peer_mark,
    push_bytes_overhead_max,
)
from wire.envelope import SESSION_BYTES
from wire.keys import SECRET_BYTES, KeyRing, SigningIdentity, peer_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from peer.assembly import TensorAgent
    from wire import PeerId

BLOCKS: Final = 8  # of the model, all pushed in every tick
ARRAYS: Final = 4  # estimate and sum, of model and adjoint
OTHERS: Final = ("alpha", "beta", "gamma")  # members whose heartbeats are passed on
BLOCK_BYTES_MIN: Final = 4 * ARRAYS  # one float32 in each array
BLOCK_BYTES_MAX: Final = MESSAGE_BYTES_MAX - push_bytes_overhead_max(ARRAYS)


class _Flat:
    """A problem that is all model: BLOCKS blocks, of `size` bytes each on the wire."""

    def __init__(self, size: int) -> None:
        self.model = {"x": torch.zeros(BLOCKS * (size // BLOCK_BYTES_MIN))}
        self.hyperparameters: dict[str, Tensor] = {}

    def inner_loss(self, *_: object) -> Tensor:
        """Never asked for: nobody learns here."""
        return torch.zeros(())

    outer_loss = inner_loss

    def batches(self) -> Iterator[None]:
        """None: nobody learns here."""
        return iter(())


class Talker:
    """Makes the messages of an agent with BLOCKS blocks, as Agent and AgentService make them."""

    def __init__(self, size: int, *, keys: bool) -> None:
        self._agent = _make_agent("sender", size)
        self._seal = _make_seal("sender", keys=keys)
        self._targets = (_name("receiver"),)
        self._names = (_name("sender"), *OTHERS)
        self._heard = tuple(peer_mark(name) for name in (*self._names, _name("receiver")))
        generator = torch.Generator().manual_seed(0)
        self._arrays = [
            tuple(
                torch.randn(length, generator=generator) for length in self._agent.solver.array_lengths(block)
            )
            for block in range(BLOCKS)
        ]
        self._ticks = 0

    def tick(self) -> list[bytes]:
        """The frames of one tick."""
        self._ticks += 1
        speaker = self._agent.speaker
        template = speaker.beacon(
            epoch=1, tick=self._ticks, tick_interval_s=0.05, digest=tuple(self._heartbeats())
        )
        blocks = [BlockPush(block, self._ticks, arrays) for block, arrays in enumerate(self._arrays)]
        pushes = speaker.pushes(template, self._targets, blocks)
        return [self._seal.wrap(push, PROTOCOL_VERSION) for push in pushes]

    def _heartbeats(self) -> Iterator[Heartbeat]:
        """The own one and those of the others, each hearing all."""
        hears = tuple(Heard(mark, self._ticks, 1) for mark in self._heard)
        for name in self._names:
            yield Heartbeat(name, 1, self._ticks, "127.0.0.1:7700", hears=hears)


class Listener:
    """Takes in messages, as Agent and AgentService do."""

    def __init__(self, size: int, *, keys: bool) -> None:
        self._agent = _make_agent("receiver", size)
        self._seal = _make_seal("receiver", keys=keys)
        self._agent.peer_seen(_name("sender"), 1, time.monotonic())

    def hear(self, frame: bytes) -> PeerId:
        """File one message; who sent it. Raises `wire.DecodeError`."""
        push = self._seal.unwrap(frame)
        self._agent.receive(push, time.monotonic())
        return push.sender


def _make_agent(role: str, size: int) -> TensorAgent:
    agent, _ = make_agent(
        _Flat(size),
        AgentSettings(block_fraction=1 / BLOCKS),
        peer=_name(role),
        swarm="bench",
        seed=0,
        now=time.monotonic(),
        founder=True,
        incarnation=1,
        address="127.0.0.1:7700",
    )
    return agent


def _make_seal(role: str, *, keys: bool) -> Seal:
    if not keys:
        return Bare()
    state = ephemeral(_seed(role))
    state.start()
    return Sealed(KeyRing.new(_seed("swarm")), state, os.urandom(SESSION_BYTES), None)


def _name(role: str) -> PeerId:
    return peer_name(role, SigningIdentity(_seed(role)).fingerprint)


def _seed(role: str) -> bytes:
    """A key that anybody may know: what it protects is noise."""
    return hashlib.blake2b(role.encode(), digest_size=SECRET_BYTES).digest()
