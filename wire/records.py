"""What an agent says about itself to be found: in an mDNS TXT record, in the answer of GET /v1/identity."""

import hashlib
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from wire.checks import U64_MAX
from wire.codec import PROTOCOL_OLDEST, PROTOCOL_VERSION
from wire.errors import AddressError, DecodeError, RejectReason
from wire.messages import (
    FINGERPRINT_BYTES_MAX,
    PEER_ID_BYTES_MAX,
    SWARM_BYTES_MAX,
    PeerId,
    name_problem,
    parse_address,
)

PEERS_KNOWN_MAX: Final = 512  # a hostile neighbour on the LAN must not grow tables of peers without bound
PEERS_TOLD_MAX: Final = 64  # addresses in one answer: 17 kB, and a few answers tell of all
HEARS_TOLD_MAX: Final = 64  # names in one answer: more in-neighbours than any agent has
ALTERNATIVES_MAX: Final = 8  # further addresses of one peer: cards x (IPv4 and IPv6), and some bridges
KEYS_ANNOUNCED_MAX: Final = 8  # ids of swarm keys: a change of keys needs two
INTEGER_DIGITS_MAX: Final = 20  # of 2**64 - 1

_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")
_KEY_ID = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """One agent, as announced. `address` is where it was found, "host:port", not what it claims.

    It reads messages of the protocol versions `oldest` to `protocol`, and accepts those sealed with the swarm
    keys of the ids `keys`, eight hexadecimal digits each; without any, only those that are not sealed.
    `alternatives` are further addresses, best first, at most ALTERNATIVES_MAX.
    """

    peer: PeerId
    incarnation: int
    address: str
    swarm: str
    fingerprint: str
    protocol: int = PROTOCOL_VERSION
    oldest: int = PROTOCOL_OLDEST
    keys: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()

    def to_fields(self) -> dict[str, str | int]:
        """What is announced; read_record reads it, also with the numbers as text."""
        return {
            "peer": self.peer,
            "incarnation": self.incarnation,
            "swarm": self.swarm,
            "fingerprint": self.fingerprint,
            "protocol": self.protocol,
            "oldest": self.oldest,
            **({"keys": ",".join(self.keys)} if self.keys else {}),
        }


def read_record(fields: Mapping[str, object], address: str, alternatives: tuple[str, ...] = ()) -> PeerRecord:
    """Check what a stranger announces; unknown fields are ignored. Raises DecodeError naming the field."""
    protocol = _read_count(fields, "protocol")
    oldest = _read_count(fields, "oldest") if "oldest" in fields else protocol
    if oldest > protocol:
        raise DecodeError(
            RejectReason.MALFORMED, f"announced oldest is {oldest}: must be at most protocol, {protocol}"
        )
    return PeerRecord(
        peer=_read_name(fields, "peer", PEER_ID_BYTES_MAX),
        incarnation=_read_count(fields, "incarnation"),
        address=address,
        swarm=_read_name(fields, "swarm", SWARM_BYTES_MAX),
        fingerprint=_read_name(fields, "fingerprint", FINGERPRINT_BYTES_MAX),
        protocol=protocol,
        oldest=oldest,
        keys=_read_keys(fields.get("keys", "")),
        alternatives=alternatives[:ALTERNATIVES_MAX],
    )


def read_told(fields: Mapping[str, object]) -> tuple[str, ...]:
    """The addresses a stranger tells of under "peers"; ignores what is invalid or beyond PEERS_TOLD_MAX."""
    told = fields.get("peers")
    entries = told[:PEERS_TOLD_MAX] if isinstance(told, list) else []
    return tuple(entry for entry in entries if isinstance(entry, str) and _is_address(entry))


def read_names(fields: Mapping[str, object], name: str) -> tuple[PeerId, ...] | None:
    """The peers a stranger lists under `name`, "hears" or "heard_by"; None if it lists none there.

    Ignores what is invalid or beyond HEARS_TOLD_MAX.
    """
    told = fields.get(name)
    if not isinstance(told, list):
        return None
    return tuple(
        entry
        for entry in told[:HEARS_TOLD_MAX]
        if isinstance(entry, str) and name_problem(entry, PEER_ID_BYTES_MAX) is None
    )


def incompatibility(own: PeerRecord, other: PeerRecord) -> RejectReason | None:
    """Why these two cannot push to each other; None if they can."""
    if other.swarm != own.swarm:
        return RejectReason.WRONG_SWARM
    if other.oldest > own.protocol or own.oldest > other.protocol:
        return RejectReason.FUTURE_VERSION
    if other.fingerprint != own.fingerprint:
        return RejectReason.WRONG_FINGERPRINT
    if (own.keys or other.keys) and not set(own.keys) & set(other.keys):
        return RejectReason.WRONG_KEY
    return None


def instance_label(swarm: str, peer: PeerId) -> str:
    """A DNS label, unique per (swarm, peer): readable in front, a digest behind, at most 63 bytes."""
    digest = hashlib.blake2s(f"{len(swarm)}:{swarm}/{peer}".encode(), digest_size=8).hexdigest()
    return f"{_UNSAFE.sub('-', peer)[:40]}-{digest}"


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except AddressError:
        return False
    return True


def _read_name(fields: Mapping[str, object], name: str, bytes_max: int) -> str:
    value = fields.get(name)
    problem = name_problem(value, bytes_max) if isinstance(value, str) else "must be text"
    if not isinstance(value, str) or problem is not None:
        raise DecodeError(RejectReason.MALFORMED, f"announced {name} is {reprlib.repr(value)}: {problem}")
    return value


def _read_keys(value: object) -> tuple[str, ...]:
    """Ids with commas between; nothing or None, as DNS-SD reads an empty value, is no key."""
    if not value:
        return ()
    ids = value.split(",", KEYS_ANNOUNCED_MAX) if isinstance(value, str) else []
    if not 1 <= len(ids) <= KEYS_ANNOUNCED_MAX or not all(_KEY_ID.fullmatch(key_id) for key_id in ids):
        raise DecodeError(
            RejectReason.MALFORMED,
            f"announced keys are {reprlib.repr(value)}: must be 1 to {KEYS_ANNOUNCED_MAX} ids of 8 "
            "hexadecimal digits, with commas between",
        )
    return tuple(ids)


def _read_count(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= INTEGER_DIGITS_MAX:
        value = int(value)
    if type(value) is not int or not 0 <= value <= U64_MAX:
        raise DecodeError(
            RejectReason.MALFORMED,
            f"announced {name} is {reprlib.repr(value)}: must be an integer from 0 to {U64_MAX}",
        )
    return value
