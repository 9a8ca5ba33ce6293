"""Who may hold sockets of ours, and how many: caps per caller, and callers that are sent away for a while.

Pure: `now` is an argument, in seconds of any clock that does not run backwards.
"""

import enum
import ipaddress
from typing import Final, NamedTuple

CONNECTIONS_MAX: Final = 512  # incoming websockets; as many as peers can be known, beyond it 503
SOCKETS_MAX: Final = CONNECTIONS_MAX + 64  # accepted at all: handshakes and identities on top
CALLER_SOCKETS_MAX: Final = (
    128  # of one caller: as many agents behind one NAT, yet five callers fill no place
)
LOOPBACK_SOCKETS_MAX: Final = 512  # swarms on one machine; who is on this machine has better ways to harm us
CALLERS_AWAY_MAX: Final = 1_024  # remembered; a botnet that is larger gets its oldest members back
AWAY_S_MIN: Final = 1.0  # doubled each time
AWAY_S_MAX: Final = 300.0  # and forgiven after as long without an offence

_NETWORK_BITS: Final = 64  # of IPv6: whoever has one of these addresses has them all
_LOOPBACK: Final = "loopback"


class Refusal(enum.StrEnum):
    """Why a socket was closed or a request refused; the value is the name of its counter."""

    SOCKETS = "sockets"  # SOCKETS_MAX are open
    CALLER_SOCKETS = "caller_sockets"  # this caller has its share
    SENT_AWAY = "sent_away"  # this caller was sent away and is back too early
    CONNECTIONS = "connections"  # CONNECTIONS_MAX websockets are open
    HANDSHAKE = "handshake"  # no websocket in time
    BAD_REQUEST = "bad_request"  # not HTTP, headers too long, no such page, no websocket
    REJECTED = "rejected"  # nothing but messages that are no good, one after the other
    USELESS = "useless"  # no good message for minutes


class _Away(NamedTuple):
    until: float
    for_s: float


class Callers:
    """Open sockets per caller, and who was sent away.

    Invariant: every `enter` that returned None has, sooner or later, one `leave` with the same host. Memory:
    at most SOCKETS_MAX callers with sockets, CALLERS_AWAY_MAX that are away.
    """

    __slots__ = ("_away", "_open", "_total")

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._total = 0
        self._away: dict[str, _Away] = {}  # the one sent away longest ago first

    def enter(self, host: str, now: float) -> Refusal | None:
        """A socket from `host`: None if it may stay, else why it must not."""
        away = self._away.get(host)
        if away is not None and now < away.until:
            return Refusal.SENT_AWAY
        if self._total >= SOCKETS_MAX:
            return Refusal.SOCKETS
        caller = caller_of(host)
        if self._open.get(caller, 0) >= (LOOPBACK_SOCKETS_MAX if caller == _LOOPBACK else CALLER_SOCKETS_MAX):
            return Refusal.CALLER_SOCKETS
        self._open[caller] = self._open.get(caller, 0) + 1
        self._total += 1
        return None

    def leave(self, host: str) -> None:
        """A socket that had entered is closed."""
        caller = caller_of(host)
        self._total -= 1
        self._open[caller] -= 1
        if not self._open[caller]:
            del self._open[caller]

    def send_away(self, host: str, now: float) -> None:
        """Let `host` open no socket for a while, twice as long as the last time.

        Not those of this machine: one agent of another swarm must not lock out all the others.
        """
        if caller_of(host) == _LOOPBACK:
            return
        before = self._away.pop(host, None)
        again = before is not None and now < before.until + AWAY_S_MAX
        for_s = min(2 * before.for_s, AWAY_S_MAX) if before is not None and again else AWAY_S_MIN
        self._away[host] = _Away(now + for_s, for_s)
        if len(self._away) > CALLERS_AWAY_MAX:
            del self._away[next(iter(self._away))]


def caller_of(host: str) -> str:
    """Whose sockets are counted together with those of `host`."""
    address, _, scope = host.partition("%")
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return host
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return _LOOPBACK
    if scope or ip.version == 4:
        return str(ip)
    return str(ipaddress.ip_network((ip, _NETWORK_BITS), strict=False))
