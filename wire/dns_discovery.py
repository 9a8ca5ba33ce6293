"""Finding the other agents behind a DNS name, such as a headless service of Kubernetes. An edge: asyncio."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from wire.asking import REFRESH_S, RETRY_S, AddressAsking
from wire.discovery import Fetch
from wire.known_peers import OnIncompatible, OnSeen
from wire.messages import format_address, parse_address
from wire.records import PEERS_KNOWN_MAX, PeerRecord

LOOK_UP_S: Final = 10.0  # between two questions: a new pod is found before it has loaded its data
LOOK_UP_TIMEOUT_S: Final = 5.0

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """The addresses behind a name, IPv4 and IPv6, as "host:port". Raises OSError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # Python refuses some names before it asks
        raise OSError(f"no such name: {error}") from error
    return list(dict.fromkeys(format_address(str(one[4][0]), port) for one in found))


class DnsDiscovery(AddressAsking):
    """Asks DNS names again and again, and every address behind them as a seed is asked.

    `names` are (host, port). An address is given as long as DNS names it; afterwards it is asked until it
    stops answering. While a name cannot be looked up its last answer stays; `on_problem` is told once, and
    again only after it had worked.
    """

    def __init__(
        self,
        record: PeerRecord,
        names: Sequence[tuple[str, int]],
        *,
        fetch: Fetch,
        on_seen: OnSeen,
        on_incompatible: OnIncompatible | None = None,
        on_problem: Callable[[str], None] | None = None,
        resolve: Resolve = resolve,
        look_up_s: float = LOOK_UP_S,
        retry_s: float = RETRY_S,
        refresh_s: float = REFRESH_S,
    ) -> None:
        super().__init__(
            record,
            fetch=fetch,
            on_seen=on_seen,
            on_incompatible=on_incompatible,
            retry_s=retry_s,
            refresh_s=refresh_s,
        )
        for host, port in names:
            parse_address(format_address(host, port))
        self._on_problem = on_problem
        self._resolve = resolve
        self._look_up_s = look_up_s
        self._answers: dict[tuple[str, int], frozenset[str]] = dict.fromkeys(names, frozenset())
        self._lookups: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to ask."""
        self._open()
        self._lookups = [self._spawn(self._look_up(*name), f"look up {name[0]}") for name in self._answers]

    async def close(self) -> None:
        """Stop asking."""
        lookups, self._lookups = self._lookups, []
        for task in lookups:
            task.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)
        await super().close()

    async def _look_up(self, host: str, port: int) -> None:
        said = False
        while True:
            try:
                async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
                    found = await self._resolve(host, port)
                said = False
                self._answers[host, port] = frozenset(found[:PEERS_KNOWN_MAX])
                self._given = frozenset().union(*self._answers.values())
                self._follow(found)
            except OSError as error:
                if not said and self._on_problem is not None:
                    reason = str(error) or "no answer in time"
                    self._on_problem(f"DNS name {host} cannot be looked up: {reason}; it is asked again")
                said = True
            await asyncio.sleep(self._look_up_s)
