"""The one message of the network, as a value, and what names and addresses look like.

Nothing here knows bytes on the wire (codec.py) or links (slots.py, faults.py, transport.py).
"""

import functools
import hashlib
import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Generic, Literal, NamedTuple, TypeVar

from wire.errors import AddressError

PeerId = str
"""Name of one agent: printable, not empty, at most PEER_ID_BYTES_MAX bytes of UTF-8."""

V = TypeVar("V")
"""What the agent calculates with; on the wire it is Array."""

_W = TypeVar("_W")

PEER_ID_BYTES_MAX: Final = 64  # a UUID or a host name with a number; it is a key of every table of peers
SWARM_BYTES_MAX: Final = 64  # a name somebody types
FINGERPRINT_BYTES_MAX: Final = 128  # SHA-512 in hexadecimal
LABEL_BYTES_MAX: Final = 63  # between two dots of a DNS name; resolvers refuse more
ADDRESS_BYTES_MAX: Final = 261  # the longest DNS name (255), a colon, five digits
ARRAYS_MAX: Final = 64  # arrays per message: (value, sum) of 32 streams; the design has two

AVERAGES_MAX: Final = 32  # numbers of which agents tell sums, beside the arrays

TARGETS_TOLD_MAX: Final = 64  # the largest fanout
DIGEST_MAX: Final = 12  # heartbeats per message: with all other caps 12 kB, and news of 100 peers in 9 ticks
HEARS_MAX: Final = 24  # peers one agent says it hears; it has about as many in-neighbours as its fanout
ACCUSES_MAX: Final = 8  # a swarm with more liars around one agent has other problems
MARK_BYTES: Final = 8  # of a name: short enough for lists, and members do not collide by accident
AGE_TICKS_MAX: Final = 2**16 - 1

NAMES_REMEMBERED: Final = 1_024  # their marks, and addresses as parsed: each comes again in every message

ITEM_BYTES: Final = {"<f4": 4, "<f8": 8}
"""The two dtypes of the wire, little-endian floats, and their size."""

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Array:
    """A flat array of little-endian floats, as it travels.

    `data` holds whole elements in C order; `numpy.frombuffer(array.data, array.dtype)` views it.
    """

    dtype: Literal["<f4", "<f8"]
    data: bytes | memoryview

    @property
    def count(self) -> int:
        """Elements in `data`."""
        return memoryview(self.data).nbytes // ITEM_BYTES[self.dtype]


@functools.lru_cache(NAMES_REMEMBERED)
def peer_mark(peer: PeerId) -> bytes:
    """MARK_BYTES that stand for a name where many names would take too much room."""
    return hashlib.blake2b(peer.encode(), digest_size=MARK_BYTES).digest()


class Heard(NamedTuple):
    """That one agent hears another. Heard directly, not through others."""

    mark: bytes  # peer_mark of the one heard
    heartbeat: int  # the newest of its that arrived
    age_ticks: int  # since then, in ticks of the hearer; AGE_TICKS_MAX stands for more


class Heartbeat(NamedTuple):
    """What an agent says of itself, as told by itself or passed on. DESIGN (Liveness).

    One with a higher (incarnation, heartbeat) is newer and replaces others of the same peer.
    """

    peer: PeerId
    incarnation: int
    heartbeat: int  # rises with every tick of the agent, whatever it does
    address: str = ""  # as in Push
    left: bool = False  # it said goodbye
    hears: tuple[Heard, ...] | None = None  # None: it does not say
    accuses: tuple[bytes, ...] = ()  # marks of the peers whose sums it does not believe


@dataclass(frozen=True, slots=True)
class Push(Generic[V]):
    """One block of one sender's running sums: DESIGN (7), and everything (8) needs to take it in.

    A push with a higher `sequence` of the same (sender, incarnation, epoch, block) contains all earlier ones.
    A sum is split between `targets`: whoever else gets the bytes must not take them in. A push without arrays
    is a beacon: it carries signs of life only. It names targets, too: what was recorded on one link must not
    bring the dead back to life on another.
    """

    swarm: str
    fingerprint: str  # of the model: shapes and order of the parameters
    sender: PeerId
    incarnation: int
    epoch: int
    block: int
    sequence: int  # from 1
    tick: int  # of the sender's own clock
    tick_interval_s: float  # the sender's pace, finite and positive
    address: str  # "host:port" where the sender listens, "" if unknown
    arrays: tuple[V, ...]
    targets: tuple[bytes, ...] = ()  # peer_mark of each, sorted; () in version 1
    digest: tuple[Heartbeat, ...] = ()  # the sender's own first, if there is any
    averages: tuple[float, ...] = ()  # running sums like those in `arrays`, of one tick; () says nothing

    def with_arrays(self, arrays: tuple[_W, ...]) -> "Push[_W]":
        """The same message, its arrays in another form."""
        return Push(
            self.swarm,
            self.fingerprint,
            self.sender,
            self.incarnation,
            self.epoch,
            self.block,
            self.sequence,
            self.tick,
            self.tick_interval_s,
            self.address,
            arrays,
            self.targets,
            self.digest,
            self.averages,
        )


def name_problem(text: str, bytes_max: int) -> str | None:
    """What stops `text` from being a name of at most `bytes_max` bytes; None if nothing does.

    Unprintable characters are refused because names end in logs and terminals.
    """
    if not text:
        return "must not be empty"
    if not text.isprintable():
        return "must be printable characters only"
    if len(text.encode()) > bytes_max:
        return f"must be at most {bytes_max} bytes of UTF-8"
    return None


@functools.lru_cache(NAMES_REMEMBERED)
def parse_address(text: str) -> tuple[str, int]:
    """Split "host:port" or "[ipv6]:port"; the host comes back without brackets.

    Whatever is accepted can be dialled, if in vain. Raises AddressError naming the text and the remedy. Looks
    nothing up.

    >>> from wire import parse_address
    >>> parse_address("[::1]:7700")
    ('::1', 7700)
    """
    host, colon, port_text = text.rpartition(":")
    shown = repr(text[:80])
    if not colon:
        raise AddressError(f"address {shown} has no port: write HOST:PORT, for example 192.168.0.7:7700")
    if not _HOST.fullmatch(host):
        raise AddressError(
            f"address {shown} has no usable host: write HOST:PORT with a name, an IPv4 address or [IPv6]"
        )
    port = int(port_text) if _PORT.fullmatch(port_text) else 0
    if not 1 <= port <= 65_535:
        raise AddressError(f"address {shown} has port {port_text[:20]!r}: write a number from 1 to 65535")
    if len(text) > ADDRESS_BYTES_MAX:
        raise AddressError(f"address {shown}... is {len(text)} bytes long: at most {ADDRESS_BYTES_MAX}")
    problem = _ipv6_problem(host[1:-1]) if host.startswith("[") else _label_problem(host)
    if problem is not None:
        raise AddressError(f"address {shown} {problem}")
    return host.strip("[]"), port


def _ipv6_problem(host: str) -> str | None:
    try:
        ipaddress.IPv6Address(host)
    except ipaddress.AddressValueError:
        return "has brackets around what is no IPv6 address: write [IPv6]:PORT, for example [::1]:7700"
    return None


def _label_problem(host: str) -> str | None:
    if all(1 <= len(label) <= LABEL_BYTES_MAX for label in host.split(".")):
        return None
    return f"has a name with an empty or too long part: write 1 to {LABEL_BYTES_MAX} bytes between two dots"


def format_address(host: str, port: int) -> str:
    """The inverse of parse_address: brackets around an IPv6 host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
