"""Worlds with a swarm key: messages are sealed and opened as those of real agents are, see `peer.sealing`.

Somebody without the key, and a member that speaks under the name of another, say what they like to everybody;
nothing of it may be taken. Keys and sessions come from the seed, so that sealed bytes are always the same.

A name holds the fingerprint of its identity in real swarms only, so on the wire it is put there, and taken
off behind the check.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from peer.hunt import fixed_point, hostile
from peer.hunt.fixed_point import FixedVector
from wire import Push
from wire.envelope import SESSION_BYTES, Opener, Sealer
from wire.keys import KeyRing, SigningIdentity, peer_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.agent import Agent
    from wire import PeerId

SHARE: Final = 0.04  # of the worlds
IMPOSTORS: Final = ("without the key", "under another name", "with another's public key", "not sealed")
_INCARNATIONS_AHEAD: Final = 3


@dataclass(frozen=True, slots=True)
class SealedPush(Push[FixedVector]):
    """A message on its way: what counts are the bytes. `author` is who has really sealed them."""

    sealed: bytes = b""
    author: PeerId = ""


class Forged(SigningIdentity):
    """Shows the public key of another, and signs with its own."""

    def __init__(self, own: SigningIdentity, shown: SigningIdentity) -> None:
        self.public, self.fingerprint = shown.public, shown.fingerprint  # type: ignore[misc]
        self._key = own._key  # noqa: SLF001


class Seals:
    """The key of one world, and everybody's identities."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._ring = KeyRing.new(self._bytes("key"))
        self._other_ring = KeyRing.new(self._bytes("another key"))
        self._identities: dict[PeerId, SigningIdentity] = {}
        self._peers: dict[PeerId, PeerId] = {}  # by their names on the wire
        self._sealers: dict[tuple[PeerId, int], Sealer] = {}
        self._impostors: dict[tuple[str, PeerId], Sealer] = {}

    def seal(self, push: Push[FixedVector]) -> SealedPush:
        """As its sender does."""
        key = (push.sender, push.incarnation)
        sealer = self._sealers.get(key)
        if sealer is None:
            identity = self._identity(push.sender)
            sealer = self._sealers[key] = Sealer(
                self._ring, identity, push.incarnation, self._session(*map(str, key))
            )
        return self._sealed(push, sealer, push.sender)

    def opener(self) -> Opener:
        """Of a process that starts."""
        return Opener(self._ring, None, {})

    def open(self, opener: Opener, push: Push[FixedVector]) -> Push[FixedVector]:
        """What an agent makes of the bytes, by whom they say. Raises `wire.DecodeError`."""
        if not isinstance(push, SealedPush):
            push = self._bare(push)
        opened = opener.open(push.sealed)
        found = fixed_point.decode(bytes(opened.frame))
        opener.check_sender(found.sender, opened)
        return replace(found, sender=self._peers[found.sender])

    def pretend(self, target: Agent[FixedVector], others: Sequence[PeerId], now: float) -> list[SealedPush]:
        """What impostors say to this agent now, as if another had said it, in each of the ways in turn."""
        how = IMPOSTORS[int(now) % len(IMPOSTORS)]
        victims = [peer for peer in others if peer != target.identity.peer]
        if not victims:
            return []
        victim = victims[int(now) // len(IMPOSTORS) % len(victims)]
        pushes = []
        for push in hostile.speak("garbage", target, now):
            beats = tuple(one._replace(peer=victim, incarnation=_INCARNATIONS_AHEAD) for one in push.digest)
            said = replace(push, sender=victim, incarnation=_INCARNATIONS_AHEAD, digest=beats)
            if how == "not sealed":
                pushes.append(self._bare(said))
            else:
                pushes.append(self._sealed(said, self._impostor(how, victim), hostile.LIAR))
        return pushes

    def _impostor(self, how: str, victim: PeerId) -> Sealer:
        sealer = self._impostors.get((how, victim))
        if sealer is None:
            liar, other = self._identity(hostile.LIAR), self._identity(victim)
            identity = liar if how == "under another name" else Forged(liar, other)
            ring = self._other_ring if how == "without the key" else self._ring
            session = self._session(how, victim)
            sealer = Sealer(ring, identity, _INCARNATIONS_AHEAD, session)
            self._impostors[how, victim] = sealer
        return sealer

    def _bare(self, push: Push[FixedVector]) -> SealedPush:
        return _with(push, fixed_point.encode(self._named(push)), hostile.LIAR)

    def _sealed(self, push: Push[FixedVector], sealer: Sealer, author: PeerId) -> SealedPush:
        return _with(push, sealer.seal(fixed_point.encode(self._named(push))), author)

    def _named(self, push: Push[FixedVector]) -> Push[FixedVector]:
        name = peer_name(push.sender, self._identity(push.sender).fingerprint)
        self._peers[name] = push.sender
        return replace(_without(push), sender=name)

    def _identity(self, peer: PeerId) -> SigningIdentity:
        known = self._identities.get(peer)
        if known is None:
            known = self._identities[peer] = SigningIdentity(self._bytes(f"identity/{peer}"))
        return known

    def _session(self, *what: str) -> bytes:
        return self._bytes("/".join(("session", *what)))[:SESSION_BYTES]

    def _bytes(self, what: str) -> bytes:
        return hashlib.sha256(f"hunt/{self._seed}/{what}".encode()).digest()


def is_sealed(seed: int) -> bool:
    """Whether the world of this seed has a key; drawn apart, so that the rest does not depend on it."""
    return random.Random(f"hunt/{seed}/sealed").random() < SHARE


def _with(push: Push[FixedVector], sealed: bytes, author: PeerId) -> SealedPush:
    values: dict[str, Any] = {one.name: getattr(push, one.name) for one in fields(Push)}
    return SealedPush(**values, sealed=sealed, author=author)


def _without(push: Push[FixedVector]) -> Push[FixedVector]:
    return Push(*[getattr(push, one.name) for one in fields(Push)])
