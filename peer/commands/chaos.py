"""`hyperpush chaos`: real agents in real processes, to which everything happens."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from peer.chaos.director import Director
from peer.chaos.machine import Workplace
from peer.chaos.network import Network, remove_stale
from peer.chaos.plan import KINDS, draw, from_scenario, shared_out, undisturbed
from peer.chaos.scorecard import numbers, scorecard, to_dict
from peer.commands.common import listening_for_people, stopped_by_signals
from peer.commands.scenario import read_scenario
from peer.display import make_console
from peer.errors import HyperpushError, SettingError
from peer.exit_codes import INTERRUPTED
from peer.jsonable import write_json
from peer.scenario import member_names
from peer.tasks import TASKS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import Console

    from peer.admin_access import AdminAccess
    from peer.chaos.plan import Plan
    from peer.chaos.record import Record
    from peer.chaos.scorecard import Line

LINE_EVERY = 10  # looks, where there is no terminal


def main(options: argparse.Namespace) -> int:
    """Run it; 1 if something was lost."""
    if not sys.platform.startswith("linux"):
        raise HyperpushError(f"it needs Linux: limits of other processes, /proc; this is {sys.platform}")
    if options.processes > options.agents:
        raise SettingError(
            "processes", options.processes, f"give as many as --agents {options.agents}, or fewer"
        )
    if options.task not in TASKS:
        raise SettingError("task", options.task, f"give one of {', '.join(TASKS)}")
    console = make_console()
    names = member_names(options.agents)
    seconds = 60 * options.minutes
    members = shared_out(names, options.processes)
    access = listening_for_people(options)
    network = _network(options.processes)
    try:
        if options.scenario is None:
            kinds = [kind for kind in KINDS if network is not None or kind != "unplug"]
            plan = draw(members, seconds, options.seed, kinds)
        else:
            plan = from_scenario(read_scenario(options.scenario, names), members, seconds)
        record = _run(console, plan, network, options, access)
        calm = None
        if options.task != "synthetic" and not record.interrupted:
            console.print("the same without troubles, for comparison")
            calm = _run(console, undisturbed(members, record.ended_s), network, options, None)
    finally:
        if network is not None:
            network.close()
    if record.interrupted or (calm is not None and calm.interrupted):
        console.print("interrupted; all processes have ended, and nothing is left behind")
        for left in record.left_behind:
            console.print(f"but {left}")
        return INTERRUPTED
    lines = scorecard(record, calm)
    _print(console, record, lines)
    if options.json is not None:
        write_json(options.json, to_dict(record, lines))
    return 1 if any(line.lost for line in lines) else 0


def _network(processes: int) -> Network | None:
    """Networks that can be unplugged, where they are permitted and there is more than one process."""
    remove_stale()
    with contextlib.suppress(OSError):
        return Network(processes) if processes > 1 else None
    return None


def _run(
    console: Console,
    plan: Plan,
    network: Network | None,
    options: argparse.Namespace,
    access: AdminAccess | None,
) -> Record:
    """One swarm from start to end; nothing of it is left but the network."""
    workplace = Workplace(len(plan.members))
    looks = 0

    async def run() -> Record:
        stop = asyncio.Event()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with (
            stopped_by_signals(stop),
            Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress,
        ):
            bar = progress.add_task("starting", total=1.0)

            def show(share: float, line: str) -> None:
                nonlocal looks
                looks += 1
                progress.update(bar, completed=share, description=line)
                if not console.is_terminal and looks % LINE_EVERY == 0:
                    console.print(line)

            director = Director(
                plan,
                workplace,
                network,
                task=options.task,
                seed=options.seed,
                tick_s=options.tick_ms / 1000,
                say=console.print,
                show=show,
                access=access,
            )
            console.print(
                f"{len(plan.agents)} agents in {len(plan.members)} processes, {options.task}, "
                f"{len(plan.troubles)} troubles until {plan.quiet_s:.0f} s, {plan.end_s:.0f} s at most"
            )
            console.print(f"full disks: {workplace.disks}; network: {_told(network)}")
            return await director.run(stop)

    try:
        record = asyncio.run(run())
    finally:
        left = workplace.close()
    record.left_behind = left
    return record


def _told(network: Network | None) -> str:
    if network is None:
        return "loopback, agents drop the messages (network namespaces need root, ip, two processes)"
    return "a namespace for each process, a router drops the packets"


def _print(console: Console, record: Record, lines: Sequence[Line]) -> None:
    table = Table(title="scorecard", header_style="bold")
    for heading in ("", "asked", "found"):
        table.add_column(heading)
    for line in lines:
        mark = Text("LOST", style="red") if line.lost else Text("ok", style="green")
        table.add_row(mark, line.asked, line.found)
    table.add_section()
    for what, found in numbers(record).items():
        table.add_row("", what, (found))
    console.print(table)
    for line in lines:
        for lost in line.lost:
            console.print(f"lost: {line.asked}: {lost}", style="red")
    count = sum(len(line.lost) for line in lines)
    console.print(f"{count} things were lost" if count else "nothing was lost")
