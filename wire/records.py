"""What an agent says about itself to be found: in an mDNS TXT record, in the answer of GET /v1/identity."""

import hashlib
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from wire.checks import U64_MAX
from wire.codec import PROTOCOL_VERSION
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
INTEGER_DIGITS_MAX: Final = 20  # of 2**64 - 1

_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """One agent, as announced. `address` is where it was found, "host:port", not what it claims."""

    peer: PeerId
    incarnation: int
    address: str
    swarm: str
    fingerprint: str
    protocol: int = PROTOCOL_VERSION

    def to_fields(self) -> dict[str, str | int]:
        """What is announced; read_record reads it, also with the numbers as text."""
        return {
            "peer": self.peer,
            "incarnation": self.incarnation,
            "swarm": self.swarm,
            "fingerprint": self.fingerprint,
            "protocol": self.protocol,
        }


def read_record(fields: Mapping[str, object], address: str) -> PeerRecord:
    """Check what a stranger announces; unknown fields are ignored. Raises DecodeError naming the field."""
    return PeerRecord(
        peer=_read_name(fields, "peer", PEER_ID_BYTES_MAX),
        incarnation=_read_count(fields, "incarnation"),
        address=address,
        swarm=_read_name(fields, "swarm", SWARM_BYTES_MAX),
        fingerprint=_read_name(fields, "fingerprint", FINGERPRINT_BYTES_MAX),
        protocol=_read_count(fields, "protocol"),
    )


def read_told(fields: Mapping[str, object]) -> tuple[str, ...]:
    """The addresses a stranger tells of under "peers"; ignores what is invalid or beyond PEERS_TOLD_MAX."""
    told = fields.get("peers")
    entries = told[:PEERS_TOLD_MAX] if isinstance(told, list) else []
    return tuple(entry for entry in entries if isinstance(entry, str) and _is_address(entry))


def incompatibility(own: PeerRecord, other: PeerRecord) -> RejectReason | None:
    """Why these two cannot push to each other; None if they can."""
    if other.swarm != own.swarm:
        return RejectReason.WRONG_SWARM
    if other.protocol != own.protocol:
        return RejectReason.FUTURE_VERSION
    if other.fingerprint != own.fingerprint:
        return RejectReason.WRONG_FINGERPRINT
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
