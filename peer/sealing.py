"""Between message and link: frames as they are, or sealed with the swarm's key and the agent's identity."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from peer import assembly
from wire.envelope import Opener, Sealer
from wire.keys import fingerprint_of_peer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from peer.state import AgentState
    from wire import Push
    from wire.envelope import ReplayMark
    from wire.keys import KeyRing


class Seal(Protocol):
    """Messages as frames and back. `wrap` may be called from several threads, `unwrap` from one."""

    key_ids: tuple[str, ...]

    def wrap(self, push: Push[Tensor], version: int) -> bytes:
        """The frame of a message, in this version of the protocol."""

    def unwrap(self, frame: bytes) -> Push[Tensor]:
        """The message of a frame, by whom it says that it is. Raises `wire.DecodeError`."""

    def marks(self) -> Mapping[str, ReplayMark]:
        """What has to be kept so that nothing is taken twice after a restart."""


class Bare:
    """No keys: everybody can read, and say, everything."""

    key_ids: tuple[str, ...] = ()

    def wrap(self, push: Push[Tensor], version: int) -> bytes:
        """The bare frame."""
        return assembly.encode(push, version)

    def unwrap(self, frame: bytes) -> Push[Tensor]:
        """Nobody proves anything."""
        return assembly.decode(frame)

    def marks(self) -> Mapping[str, ReplayMark]:
        """None."""
        return {}


class Sealed:
    """Encrypted with the swarm's key, signed by the agent: opens once, for members, under one name."""

    def __init__(
        self, ring: KeyRing, state: AgentState, session: bytes, allowed: frozenset[str] | None
    ) -> None:
        """`state` has been started; `session` are random bytes, new for each start."""
        self._sealer = Sealer(ring, state.identity, state.incarnation, session)
        self._allowed = allowed
        self._opener = Opener(ring, allowed, state.marks)
        self.key_ids = ring.key_ids

    def use(self, ring: KeyRing) -> None:
        """Seal and open with these keys from now on."""
        self._sealer.use(ring)
        self._opener.use(ring)
        self.key_ids = ring.key_ids

    def wrap(self, push: Push[Tensor], version: int) -> bytes:
        """The sealed frame."""
        return self._sealer.seal(*assembly.encode_parts(push, version))

    def unwrap(self, frame: bytes) -> Push[Tensor]:
        """Only what its sender has signed. What it tells of identities that are not let in is left out."""
        opened = self._opener.open(frame)
        push = assembly.decode(opened.frame)
        self._opener.check_sender(push.sender, opened)
        if self._allowed is None:
            return push
        told = (one for one in push.digest if fingerprint_of_peer(one.peer) in self._allowed)
        return replace(push, digest=tuple(told))

    def marks(self) -> Mapping[str, ReplayMark]:
        """Of every sender."""
        return self._opener.marks()
