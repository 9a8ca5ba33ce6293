"""Finding the other agents by the addresses of a few. An edge: asyncio."""

from collections.abc import Sequence

from wire.asking import REFRESH_S, RETRY_S, AddressAsking
from wire.discovery import Fetch
from wire.known_peers import OnIncompatible, OnSeen
from wire.messages import parse_address
from wire.records import PeerRecord


class SeedDiscovery(AddressAsking):
    """Asks known addresses for ever who listens there, and whom those know.

    `seeds` are "HOST:PORT"; more than PEERS_KNOWN_MAX are not asked. Raises AddressError for a seed that is
    no address. The agent itself may be among the seeds.
    """

    def __init__(
        self,
        record: PeerRecord,
        seeds: Sequence[str],
        *,
        fetch: Fetch,
        on_seen: OnSeen,
        on_incompatible: OnIncompatible | None = None,
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
        for seed in seeds:
            parse_address(seed)
        self._seeds = tuple(dict.fromkeys(seeds))

    async def start(self) -> None:
        """Begin to ask."""
        self._open()
        self.ask(self._seeds)
