"""Sealed frames: a frame that only members can read, and only its sender can have made.

    offset  bytes  content
    0       2      magic "HS"
    2       1      version, now 1
    3       1      flags, now 0; a flag we do not know changes the layout, so it is a future version
    4       4      id of the swarm key
    8       32     Ed25519 public key of the sender
    40      8      incarnation of the sender, unsigned little-endian
    48      16     session: random bytes, new at every start of the sender
    64      8      counter, unsigned little-endian; rises with every frame that the sender seals
    72      ...    ChaCha20-Poly1305 of (frame, signature), its tag behind

    key        HKDF-SHA256(swarm key, info = label, public key, incarnation, session); nonce: the counter
    tagged     the 72 bytes in front, as associated data
    signature  Ed25519 over SHA-256(label, commitment of the swarm key, the 72 bytes in front, the frame)

No handshake. No nonce repeats under a key: the counter never falls, and the session keeps the keys of two
starts apart even if the sender's state was restored from a backup and its incarnation with it.

Every member could encrypt as every other, hence the signature; it is inside, so that without the swarm key
nobody makes us check one. A frame is refused at the first of: magic, length, version, key id, allow list,
replay, decryption, signature. What comes before decryption is a handful of comparisons, decryption is the
cheapest of the rest, and nothing is remembered of a frame that fails.

Choices, measured on x86: ChaCha20-Poly1305 takes 0.5 ms for 1 MiB with or without instructions for AES;
AES-256-GCM 0.3 ms with them but 4.2 ms on boards that have none, and in a swarm the slowest one counts.
SHA-256 takes 0.7 ms with instructions for it, which also small boards have by now, and 2.2 ms without;
BLAKE2b 1.3 ms everywhere. Ed25519 takes 0.04 ms to sign, 0.12 ms to verify.

Replays: what arrived of a session is never taken again, nor anything of an earlier incarnation, nor of a
second session with the same incarnation, which is a copy of the sender's state. Frames may come in any order
within COUNTERS_REMEMBERED; whatever is later still was superseded long ago. `Opener.marks` says how far every
sender came, for the next start of the receiver to begin with: up to its mark it takes nothing. Of a sender it
never heard, or forgot for SENDERS_REMEMBERED others, it takes what comes first.
"""

import hashlib
import itertools
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wire.checks import U64_MAX, malformed, oversized
from wire.codec import MESSAGE_BYTES_MAX
from wire.errors import CounterError, DecodeError, EncodeError, RejectReason
from wire.keys import (
    KEY_ID_BYTES,
    PUBLIC_BYTES,
    SIGNATURE_BYTES,
    KeyRing,
    SigningIdentity,
    SwarmKey,
    fingerprint_of_peer,
    public_fingerprint,
)
from wire.messages import PeerId

ENVELOPE_VERSION: Final = 1
SESSION_BYTES: Final = 16
COUNTERS_REMEMBERED: Final = (
    4_096  # behind the newest of a sender: seconds of delay at a thousand frames a second
)
SENDERS_REMEMBERED: Final = 1_024  # twice the peers that can be known; 5 kB each

_PREFIX: Final = struct.Struct(f"<2sBB{KEY_ID_BYTES}s{PUBLIC_BYTES}sQ{SESSION_BYTES}sQ")
_TAG_BYTES: Final = 16
SEALED_OVERHEAD: Final = _PREFIX.size + SIGNATURE_BYTES + _TAG_BYTES
"""Bytes that sealing adds to a frame."""

_MAGIC: Final = b"HS"
_BARE_MAGIC: Final = b"HP"
_KEY_LABEL: Final = b"hyperpush envelope 1 key\0"
_SIGNATURE_LABEL: Final = b"hyperpush envelope 1 signature\0"
_ALL_SEEN: Final = (1 << COUNTERS_REMEMBERED) - 1


class ReplayMark(NamedTuple):
    """How far one sender came: up to this counter of this session, nothing is taken again."""

    incarnation: int
    session: bytes
    counter: int


class Opened(NamedTuple):
    """What was in a sealed frame, and who made it when."""

    frame: memoryview
    fingerprint: str
    incarnation: int
    counter: int


class Sealer:
    """Seals what one agent sends between two starts. May be used from several threads.

    `session` must be SESSION_BYTES that were never used before with this identity: random ones.
    """

    def __init__(self, ring: KeyRing, identity: SigningIdentity, incarnation: int, session: bytes) -> None:
        assert 0 <= incarnation <= U64_MAX
        assert len(session) == SESSION_BYTES
        self._identity = identity
        self._incarnation = incarnation
        self._session = session
        self._counters = itertools.count(1)
        self.use(ring)

    def use(self, ring: KeyRing) -> None:
        """Seal with the first key of this ring from now on."""
        key = ring.sealing
        cipher = _derive(key, self._identity.public, self._incarnation, self._session)
        self._key = key, cipher  # replaced as a whole: another thread sees the one pair or the other

    def seal(self, *parts: bytes | bytearray | memoryview) -> bytes:
        """Encrypt and sign a frame, given in one part or several. It is never sealed to the same bytes twice.

        Raises EncodeError if the frame is longer than any receiver reads, CounterError at the end of u64.
        """
        frame_bytes = sum(memoryview(part).nbytes for part in parts)
        if frame_bytes > MESSAGE_BYTES_MAX:
            raise EncodeError(f"frame has {frame_bytes} bytes: at most {MESSAGE_BYTES_MAX} can be sent")
        counter = next(self._counters)
        if counter > U64_MAX:
            raise CounterError(f"all {U64_MAX} counters of this start are used: start the agent again")
        key, cipher = self._key
        prefix = _PREFIX.pack(
            _MAGIC,
            ENVELOPE_VERSION,
            0,
            key.key_id,
            self._identity.public,
            self._incarnation,
            self._session,
            counter,
        )
        signature = self._identity.sign(_signed(key, prefix, *parts))
        return prefix + cipher.encrypt(_nonce(counter), b"".join((*parts, signature)), prefix)


class _Sender:
    """What is remembered of one sender: of its newest session only."""

    __slots__ = ("ciphers", "incarnation", "name", "newest", "seen", "session")

    def __init__(self, incarnation: int, session: bytes, newest: int, seen: int) -> None:
        self.incarnation = incarnation
        self.session = session
        self.newest = newest
        self.seen = seen  # bit i: counter newest - i arrived
        self.ciphers: dict[bytes, ChaCha20Poly1305] = {}  # by key id, so as many as the ring has keys
        self.name: PeerId | None = None

    def check(self, incarnation: int, session: bytes, counter: int) -> None:
        """That this is new. Raises DecodeError if it was here before or comes too late."""
        if incarnation > self.incarnation:
            return
        age = self.newest - counter
        if incarnation < self.incarnation:
            problem = f"incarnation is {incarnation}: the sender was at {self.incarnation} before"
        elif session != self.session:
            problem = f"session is another than before in incarnation {incarnation}: a copy of the sender"
        elif age >= COUNTERS_REMEMBERED:
            problem = f"counter is {counter}: more than {COUNTERS_REMEMBERED - 1} behind the newest"
        elif age >= 0 and self.seen >> age & 1:
            problem = f"counter is {counter}: it was here before"
        else:
            return
        raise DecodeError(RejectReason.REPLAYED, problem)

    def note(self, counter: int) -> None:
        """This counter arrived; `check` let it pass."""
        ahead = counter - self.newest
        if ahead <= 0:
            self.seen |= 1 << -ahead
            return
        self.newest = counter
        self.seen = (self.seen << ahead & _ALL_SEEN | 1) if ahead < COUNTERS_REMEMBERED else 1


class Opener:
    """Opens what one agent receives. Not for several threads at once.

    `allowed` are the fingerprints of those let in; None lets in every member. `marks` are those of the last
    start.
    """

    def __init__(
        self, ring: KeyRing, allowed: frozenset[str] | None, marks: Mapping[str, ReplayMark]
    ) -> None:
        self._ring = ring
        self._allowed = allowed
        self._senders = {
            fingerprint: _Sender(mark.incarnation, mark.session, mark.counter, _ALL_SEEN)
            for fingerprint, mark in list(marks.items())[-SENDERS_REMEMBERED:]
        }

    def use(self, ring: KeyRing) -> None:
        """Open with the keys of this ring from now on, and with no others."""
        self._ring = ring
        for sender in self._senders.values():
            sender.ciphers.clear()

    def marks(self) -> dict[str, ReplayMark]:
        """How far every sender came, by fingerprint; those heard last are last."""
        return {
            fingerprint: ReplayMark(sender.incarnation, sender.session, sender.newest)
            for fingerprint, sender in self._senders.items()
        }

    def open(self, sealed: bytes | bytearray | memoryview) -> Opened:
        """Check and decrypt one sealed frame, and never take it again.

        Whatever the bytes, the only exception is DecodeError, and after it nothing is remembered of them.
        """
        view = memoryview(sealed).cast("B")
        prefix = _read_prefix(view)
        _, _, _, key_id, public, incarnation, session, counter = _PREFIX.unpack(prefix)
        key = self._ring.find(key_id)
        if key is None:
            raise DecodeError(
                RejectReason.WRONG_KEY,
                f"key id is {key_id.hex()}: we have {', '.join(self._ring.key_ids)}",
            )
        fingerprint = public_fingerprint(public)
        if self._allowed is not None and fingerprint not in self._allowed:
            raise DecodeError(RejectReason.NOT_ALLOWED, f"sender {fingerprint} is not in the allow list")
        sender = self._senders.get(fingerprint)
        if sender is not None:
            sender.check(incarnation, session, counter)
        if sender is None or sender.incarnation < incarnation:
            sender = _Sender(incarnation, session, counter, 0)
        cipher = sender.ciphers.get(key_id)
        if cipher is None:
            cipher = _derive(key, public, incarnation, session)
        frame = _decrypt(cipher, key, prefix, view[_PREFIX.size :])
        sender.note(counter)
        sender.ciphers[key_id] = cipher
        self._remember(fingerprint, sender)
        return Opened(frame, fingerprint, incarnation, counter)

    def check_sender(self, name: PeerId, opened: Opened) -> None:
        """That what was just opened speaks under this name by right. Raises DecodeError.

        The name must hold the fingerprint of who signed, and stay the same while the sender runs: an identity
        is not several peers at once.
        """
        sender = self._senders[opened.fingerprint]
        if fingerprint_of_peer(name) != opened.fingerprint:
            raise DecodeError(
                RejectReason.WRONG_IDENTITY, f"sender is {name!r}: signed by {opened.fingerprint}"
            )
        if sender.name not in (None, name):
            raise DecodeError(
                RejectReason.WRONG_IDENTITY, f"sender is {name!r}: named itself {sender.name!r} before"
            )
        sender.name = name

    def _remember(self, fingerprint: str, sender: _Sender) -> None:
        self._senders.pop(fingerprint, None)
        self._senders[fingerprint] = sender
        if len(self._senders) > SENDERS_REMEMBERED:
            del self._senders[next(iter(self._senders))]


def _read_prefix(view: memoryview) -> bytes:
    """What stands in front, of a layout that we read."""
    magic = bytes(view[:2])
    if magic == _BARE_MAGIC:
        raise DecodeError(RejectReason.UNENCRYPTED, "the frame is not sealed: this swarm uses a key")
    if magic != _MAGIC:
        raise malformed("magic", magic, repr(_MAGIC))
    if len(view) > MESSAGE_BYTES_MAX + SEALED_OVERHEAD:
        raise oversized("sealed length", len(view), MESSAGE_BYTES_MAX + SEALED_OVERHEAD)
    if len(view) < SEALED_OVERHEAD:
        raise malformed("sealed length", len(view), f"at least {SEALED_OVERHEAD} bytes")
    version, flags = view[2], view[3]
    if version > ENVELOPE_VERSION or flags:
        raise DecodeError(
            RejectReason.FUTURE_VERSION,
            f"envelope version is {version} with flags {flags:#04x}: this release reads version "
            f"{ENVELOPE_VERSION} with flags 0x00",
        )
    if version < ENVELOPE_VERSION:
        raise malformed("envelope version", version, f"{ENVELOPE_VERSION}")
    return bytes(view[: _PREFIX.size])


def _decrypt(cipher: ChaCha20Poly1305, key: SwarmKey, prefix: bytes, encrypted: memoryview) -> memoryview:
    """The frame, if it was encrypted by a member and signed by the holder of the public key in `prefix`."""
    _, _, _, _, public, _, _, counter = _PREFIX.unpack(prefix)
    try:
        decrypted = memoryview(cipher.decrypt(_nonce(counter), encrypted, prefix))
    except InvalidTag:
        raise DecodeError(RejectReason.WRONG_KEY, "sealed with another key, or altered on the way") from None
    frame, signature = decrypted[:-SIGNATURE_BYTES], bytes(decrypted[-SIGNATURE_BYTES:])
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _signed(key, prefix, frame))
    except InvalidSignature:
        raise DecodeError(RejectReason.WRONG_IDENTITY, "signed by another than the sender it names") from None
    return frame


def _derive(key: SwarmKey, public: bytes, incarnation: int, session: bytes) -> ChaCha20Poly1305:
    """The cipher of one session; all parts behind the label are of fixed length."""
    info = b"".join((_KEY_LABEL, public, incarnation.to_bytes(8, "little"), session))
    return ChaCha20Poly1305(HKDF(SHA256(), length=32, salt=None, info=info).derive(key.secret))


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "little")


def _signed(key: SwarmKey, prefix: bytes, *frame: bytes | bytearray | memoryview) -> bytes:
    """What is signed: all but the frame, which is last, is of fixed length."""
    digest = hashlib.sha256(b"".join((_SIGNATURE_LABEL, key.commitment, prefix)))
    for part in frame:
        digest.update(part)
    return digest.digest()
