"""Keys as values: the key ring of a swarm, the identity of an agent, and the list of identities let in.

    file         a line                            meaning
    key ring     hyperpush-swarm-key-1 BASE64      32 secret bytes that every member has: the first key seals
                                                   what is sent, all of them open what arrives
    identity     hyperpush-identity-key-1 BASE64   the only line: the secret Ed25519 seed of one agent
    allow list   abcd-efgh-ijkl-mnop-qrst          the fingerprint of an identity; the dashes may be left out

Empty lines, and whatever stands behind a '#', are ignored. A swarm changes its key without stopping: add the
new one as the second line everywhere, then make it the first everywhere, then drop the old one.

Randomness comes in as bytes. No secret is in any text or error made here, except what `to_text` returns.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wire.errors import KeyFileError
from wire.messages import PEER_ID_BYTES_MAX, PeerId

SECRET_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
KEY_ID_BYTES: Final = 4  # tells the few keys of one ring apart; it authenticates nothing
SWARM_KEYS_MAX: Final = 8  # a change of keys needs two
FINGERPRINT_LETTERS: Final = 20  # 100 bits: nobody finds a second key to a given fingerprint
ALLOWED_MAX: Final = 4_096  # identities in one list

_RING: Final = "hyperpush-swarm-key-1"
_IDENTITY: Final = "hyperpush-identity-key-1"
_GROUP: Final = 4
_FINGERPRINT: Final = re.compile(f"[a-z2-7]{{{FINGERPRINT_LETTERS}}}")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._]+")


@dataclass(frozen=True, slots=True)
class SwarmKey:
    """One secret of a swarm. `key_id` and `commitment` are one-way: they may be seen by anybody."""

    secret: bytes = field(repr=False)
    key_id: bytes = field(init=False)
    commitment: bytes = field(init=False, repr=False)  # signed along, so that a signature is of one key only

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise KeyFileError(f"a swarm key has {SECRET_BYTES} bytes, not {len(self.secret)}")
        commitment = hashlib.blake2b(self.secret, digest_size=32, person=b"hp swarm key").digest()
        object.__setattr__(self, "commitment", commitment)
        object.__setattr__(self, "key_id", commitment[:KEY_ID_BYTES])


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of a swarm, 1 to SWARM_KEYS_MAX, no two with the same id; the first seals."""

    keys: tuple[SwarmKey, ...]

    @classmethod
    def new(cls, secret: bytes) -> "KeyRing":
        """A ring of one key, made of SECRET_BYTES that nobody can guess."""
        return cls((SwarmKey(secret),))

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """Read a key file. Raises KeyFileError naming the line, never its content."""
        keys: dict[bytes, tuple[int, SwarmKey]] = {}
        for number, line in _lines(text):
            key = SwarmKey(_secret_of(line, number, _RING))
            if key.key_id in keys:
                raise KeyFileError(
                    f"line {number} repeats the key of line {keys[key.key_id][0]}: remove one of them"
                )
            keys[key.key_id] = (number, key)
            if len(keys) > SWARM_KEYS_MAX:
                raise KeyFileError(
                    f"line {number} is one key too many, at most {SWARM_KEYS_MAX} are read: remove old ones"
                )
        if not keys:
            raise KeyFileError("there is no key: make a key file with `hyperpush keys new-swarm`")
        return cls(tuple(key for _, key in keys.values()))

    def to_text(self) -> str:
        """The key lines, with the secrets; `parse` reads them."""
        return "".join(_line_of(_RING, key.secret) for key in self.keys)

    @property
    def sealing(self) -> SwarmKey:
        """The key for what is sent."""
        return self.keys[0]

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids in order, 8 hexadecimal digits each; safe to show and to announce."""
        return tuple(key.key_id.hex() for key in self.keys)

    def find(self, key_id: bytes) -> SwarmKey | None:
        """The key with this id, if it is in the ring."""
        return next((key for key in self.keys if key.key_id == key_id), None)


class SigningIdentity:
    """The Ed25519 key of one agent, made of SECRET_BYTES that nobody can guess.

    Its fingerprint stands for it: in names, in lists, in front of people.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SECRET_BYTES:
            raise KeyFileError(f"an identity key has {SECRET_BYTES} bytes, not {len(seed)}")
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: Final = self._key.public_key().public_bytes_raw()
        self.fingerprint: Final = public_fingerprint(self.public)

    @classmethod
    def parse(cls, text: str) -> "SigningIdentity":
        """Read an identity file. Raises KeyFileError naming the line, never its content."""
        found = list(_lines(text))
        if len(found) != 1:
            raise KeyFileError(f"expected one line `{_IDENTITY} BASE64`, there are {len(found)}")
        number, line = found[0]
        return cls(_secret_of(line, number, _IDENTITY))

    def to_text(self) -> str:
        """The one line of an identity file, with the secret."""
        return _line_of(_IDENTITY, self._seed)

    def sign(self, data: bytes) -> bytes:
        """SIGNATURE_BYTES that only this identity can make of `data`."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"SigningIdentity({self.fingerprint})"


def public_fingerprint(public: bytes) -> str:
    """FINGERPRINT_LETTERS lower-case base32 letters that stand for a public key."""
    digest = hashlib.blake2b(public, digest_size=16, person=b"hp identity").digest()
    return base64.b32encode(digest)[:FINGERPRINT_LETTERS].decode().lower()


def display_fingerprint(fingerprint: str) -> str:
    """The same in groups of four, for people; `parse_fingerprint` reads it."""
    groups = range(0, len(fingerprint), _GROUP)
    return "-".join(fingerprint[start : start + _GROUP] for start in groups)


def parse_fingerprint(text: str) -> str | None:
    """A fingerprint as anybody may write it: in groups or not, in capitals or not. None if it is none."""
    letters = re.sub(r"[\s-]+", "", text).lower()
    return letters if _FINGERPRINT.fullmatch(letters) else None


def parse_allow_list(text: str) -> frozenset[str]:
    """Read a list of fingerprints, one a line. Raises KeyFileError naming the line."""
    allowed: set[str] = set()
    for number, line in _lines(text):
        fingerprint = parse_fingerprint(line)
        if fingerprint is None:
            raise KeyFileError(
                f"line {number} is no fingerprint: write the {FINGERPRINT_LETTERS} letters that "
                f"`hyperpush keys identity` prints"
            )
        allowed.add(fingerprint)
        if len(allowed) > ALLOWED_MAX:
            raise KeyFileError(f"line {number} is one identity too many: at most {ALLOWED_MAX} are read")
    if not allowed:
        raise KeyFileError("there is no fingerprint: nobody could be heard; leave the list away, or fill it")
    return frozenset(allowed)


def peer_name(base: str, fingerprint: str) -> PeerId:
    """`BASE-FINGERPRINT`: a name that only the holder of the identity can speak under.

    `base` is for people; it loses what is unusual in host names, and its end if the whole is too long.
    """
    room = PEER_ID_BYTES_MAX - 1 - len(fingerprint)
    readable = _UNSAFE.sub("-", base)[:room].strip("-") or "agent"
    return f"{readable}-{fingerprint}"


def fingerprint_of_peer(peer: PeerId) -> str | None:
    """The fingerprint in a name made by `peer_name`; None if there is none."""
    base, _, fingerprint = peer.rpartition("-")
    return fingerprint if base and _FINGERPRINT.fullmatch(fingerprint) else None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """What is left without comments, with line numbers from 1."""
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if content:
            yield number, content


def _line_of(kind: str, secret: bytes) -> str:
    return f"{kind} {base64.b64encode(secret).decode()}\n"


def _secret_of(line: str, number: int, kind: str) -> bytes:
    """The bytes of `KIND BASE64`. The errors cite nothing: a misplaced secret must not end in a log."""
    name, _, encoded = line.partition(" ")
    if name != kind:
        raise KeyFileError(f"line {number} does not begin with `{kind} `: no key that this release reads")
    try:
        secret = base64.b64decode(encoded.strip(), validate=True)
    except (ValueError, binascii.Error):
        raise KeyFileError(
            f"line {number} has no base64 behind `{kind}`: copy the whole line again"
        ) from None
    if len(secret) != SECRET_BYTES:
        raise KeyFileError(
            f"line {number} holds {len(secret)} bytes, a key has {SECRET_BYTES}: copy the whole line again"
        )
    return secret
