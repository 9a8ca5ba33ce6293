"""`hyperpush bench wire`: what it costs to get messages from one agent to another, beside bare libraries."""

from __future__ import annotations

import os
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from rich.progress import Progress
from rich.table import Table

from peer.bench.pair import Measurement, Pair
from peer.bench.talkers import BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, BLOCKS
from peer.bench.ways import AGENTS, TRANSPORT, WAYS, WEBSOCKET
from peer.display import make_console
from peer.errors import SettingError
from peer.jsonable import check_json, write_json
from peer.recorder import versions

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

ROUNDS: Final = 5  # all ways, one after another, so often: what disturbs the machine meets them alike
TARGET: Final = 0.8  # of the messages of a bare websocket, without keys
AIMED: Final = (TRANSPORT, AGENTS)

CAPTION: Final = f"""\
Two processes on this machine, one connection; medians of {ROUNDS} interleaved rounds.
  bytes              of the arrays in a message, without its header
  messages/s, MB/s   arrived and accepted; no frame is replaced by a newer one before it is sent
  CPU                user and system time of a whole process, divided by messages
  of bare websocket  messages/s, as a share of those of a bare aiohttp websocket in the same round
bare: frames made before, counted when they have arrived. POST waits for answers; a websocket writes small
frames together and lets megabytes age in buffers.
written late: each frame is handed over when the kernel has sent the one before; until then a newer one could
take its place. So it is in the transport, which has a slot for each block, and links that come and go.
agent to agent: a push of four float32 arrays, {BLOCKS} blocks a tick, four heartbeats in the first of them,
one in the others, is encoded in a worker thread, sent, received, decoded, checked (fields, membership,
shapes, finite numbers) and put into the inbox of the other agent, where the newest of each block waits for
the next tick. Neither agent learns meanwhile.
keys: beside that, each message is signed, encrypted, decrypted and verified."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way at one size; `ratio` is the median of those of the rounds."""

    way: str
    size: int
    rounds: tuple[Measurement, ...]
    ratio: float

    def median(self, value: Callable[[Measurement], float]) -> float:
        """Over the rounds."""
        return statistics.median(map(value, self.rounds))


def main(options: argparse.Namespace) -> int:
    """Measure, print the table, and write it with `--json`; 0 also if a ratio is below the target.

    Raises SettingError for sizes or a file that cannot be, TransportError if a message does not arrive.
    """
    for size in options.sizes:
        if not BLOCK_BYTES_MIN <= size <= BLOCK_BYTES_MAX:
            remedy = f"give {BLOCK_BYTES_MIN} to {BLOCK_BYTES_MAX} bytes: one block is one message"
            raise SettingError("sizes", size, remedy)
    check_json(options.json)
    console = make_console()
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("measuring", total=ROUNDS * len(options.sizes) * len(WAYS))

        def tell(way: str) -> None:
            progress.update(bar, advance=1, description=way)

        rows = measure(options.sizes, options.seconds, tell)
    console.print(as_table(rows))
    console.print(CAPTION)
    for line in verdict(rows):
        console.print(line)
    if options.json is not None:
        write_json(options.json, as_json(rows))
    return 0


def measure(sizes: Sequence[int], seconds: float, tell: Callable[[str], None]) -> list[Row]:
    """All ways at all sizes, each for `seconds` in all; `tell` hears the name of each that is done."""
    cells = [(size, way) for size in sizes for way in WAYS]
    found: dict[tuple[int, str], list[Measurement]] = {cell: [] for cell in cells}
    with Pair() as pair:
        for _ in range(ROUNDS):
            for size, way in cells:
                found[size, way].append(pair.measure(way, size, seconds / ROUNDS))
                tell(way)
    return [Row(way, size, tuple(found[size, way]), _ratio(found, size, way)) for size, way in cells]


def _ratio(found: dict[tuple[int, str], list[Measurement]], size: int, way: str) -> float:
    pairs = zip(found[size, way], found[size, WEBSOCKET], strict=True)
    return statistics.median(ours.messages_per_s / bare.messages_per_s for ours, bare in pairs)


def as_table(rows: Sequence[Row]) -> Table:
    """For people."""
    table = Table(header_style="bold")
    table.add_column("bytes", justify="right")
    table.add_column("way", no_wrap=True)
    headings = ("messages/s", "MB/s", "sender CPU µs", "receiver CPU µs", "of bare websocket")
    for heading in headings:
        table.add_column(heading, justify="right")
    previous = 0
    for row in rows:
        first = row.size != previous
        if first and previous:
            table.add_section()
        previous = row.size
        table.add_row(
            f"{row.size:,}" if first else "",
            row.way,
            f"{row.median(lambda m: m.messages_per_s):,.0f}",
            f"{row.median(lambda m: m.megabytes_per_s):,.1f}",
            f"{row.median(lambda m: m.sender_us):,.0f}",
            f"{row.median(lambda m: m.receiver_us):,.0f}",
            f"{row.ratio:.2f}",
        )
    return table


def verdict(rows: Sequence[Row]) -> list[str]:
    """One line for each ratio below the target; one that says so if there is none."""
    missed = [row for row in rows if row.way in AIMED and row.ratio < TARGET]
    if not missed:
        return [f"Without keys, all reach {TARGET} of the messages of a bare aiohttp websocket."]
    return [
        f"Below the target: {row.way}, {row.size:,} bytes: {row.ratio:.2f} of the messages of a bare aiohttp "
        f"websocket, not {TARGET}"
        for row in missed
    ]


def as_json(rows: Sequence[Row]) -> dict[str, object]:
    """For programs, with every round."""
    return {
        "target": TARGET,
        "processors": os.cpu_count(),
        "versions": versions(),
        "rows": [asdict(row) for row in rows],
    }
