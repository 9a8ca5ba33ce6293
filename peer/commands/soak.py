"""`hyperpush soak`: the same agents for a long time; does anything about them grow or slow down?"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from rich.progress import Progress, TimeElapsedColumn
from rich.table import Table

from peer import liveness
from peer.commands.common import stopped_by_signals
from peer.display import make_console
from peer.errors import HyperpushError, SettingError
from peer.exit_codes import INTERRUPTED
from peer.soak.measures import SAMPLES_MIN, told
from peer.soak.meter import Meter
from peer.soak.virtual import SETTLE_TICKS, VirtualSoak, meeting_ticks

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TextIO

    from rich.console import Console

    from peer.soak.measures import Samples

SAMPLES = 100
FEWEST = 2 * SAMPLES_MIN  # of which some belong to the warm-up
MINUTE_S = 60.0


def main(options: argparse.Namespace) -> int:
    """Soak, and print what grew; 1 if something did."""
    console = make_console()
    soak = _real if options.real else _simulated
    began, core_s = time.monotonic(), time.process_time()
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with (
        _opened(options.record) as record,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        bar = progress.add_task("soaking", total=1.0)
        meter = soak(options, record, lambda share: progress.update(bar, completed=share))
    console.print(
        f"{meter.agent_ticks:,} agent-ticks in {time.monotonic() - began:.0f} s, "
        f"{time.process_time() - core_s:.0f} core-seconds, {len(meter.samples.work)} samples"
    )
    return _show(console, meter.samples, "hour" if options.real else "million agent-ticks")


def _simulated(
    options: argparse.Namespace, record: TextIO | None, progress: Callable[[float], None]
) -> Meter:
    """Until so many agent-ticks are made, or somebody presses Ctrl-C."""
    agents, wanted = options.agents or 50, options.agent_ticks
    samples = min(SAMPLES, wanted // (agents * SETTLE_TICKS))
    filling = agents * (meeting_ticks(agents) + liveness.OWN_BEATS_MAX)
    least = filling + FEWEST * agents * SETTLE_TICKS
    if wanted < least:
        raise SettingError("agent_ticks", wanted, f"give {least} or more: tables have to fill first")
    soaked = VirtualSoak(agents, options.seed)
    meter = Meter(soaked, record, hours=False, filling=filling)
    with contextlib.suppress(KeyboardInterrupt):
        while soaked.agent_ticks < wanted:
            soaked.go_on(wanted / agents / samples)
            meter.take()
            progress(soaked.agent_ticks / wanted)
    return meter


def _real(options: argparse.Namespace, record: TextIO | None, progress: Callable[[float], None]) -> Meter:
    """For so long, or until a signal comes."""
    from peer.soak.real import TICK_S, RealSoak

    seconds, settle_s = options.minutes * MINUTE_S, SETTLE_TICKS * TICK_S
    samples = int(min(SAMPLES, seconds / settle_s))
    warm_up_s = liveness.OWN_BEATS_MAX * TICK_S
    least = (warm_up_s + FEWEST * settle_s) / MINUTE_S
    if options.minutes < least:
        raise SettingError("minutes", options.minutes, f"give {least:.2f} or more: tables have to fill first")

    async def run() -> Meter:
        agents = options.agents or 8
        soaked = RealSoak(agents, options.seed, samples, seconds / samples)
        meter = Meter(soaked, record, hours=True, filling=agents * liveness.OWN_BEATS_MAX)
        stop = asyncio.Event()

        def take() -> None:
            meter.take()
            progress(len(meter.samples.work) / samples)

        with stopped_by_signals(stop):
            await soaked.soak(samples, take, stop)
        return meter

    return asyncio.run(run())


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[TextIO | None]:
    """To append to; None without a path."""
    if path is None:
        yield None
        return
    try:
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise HyperpushError(
            f"record: {str(path)!r} cannot be written: {error.strerror}; give another file"
        ) from None
    with file:
        yield file


def _show(console: Console, samples: Samples, unit: str) -> int:
    findings = samples.findings()
    if not findings:
        console.print("too few samples to say anything")
        return INTERRUPTED
    table = Table(header_style="bold")
    for heading in ("", "first", "last", f"slope per\n{unit}", "allowed", "verdict"):
        table.add_column(heading, justify="left" if heading in ("", "allowed", "verdict") else "right")
    for cells in told(findings):
        table.add_row(*cells)
    console.print(table)
    return 1 if any(finding.verdict for finding in findings) else 0
