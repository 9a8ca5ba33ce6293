"""`hyperpush hunt`: random worlds, until one shows a fault of ours."""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING

from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from peer.commands.tracing import all_traces
from peer.display import make_console
from peer.errors import HyperpushError, SettingError
from peer.exit_codes import INTERRUPTED
from peer.hunt.campaign import Record, Totals, WorkerEndedError, explain, judge_all, judge_twice
from peer.hunt.marks import EXPECTED
from peer.hunt.trial import OnlookerError, Trial
from peer.hunt.world import draw
from peer.spread.workers import workers_of

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

SHOWN_MAX = 5  # violations that are made short at the end


def main(options: argparse.Namespace) -> int:
    """Hunt, and print what was seen; 1 if something is wrong."""
    _refuse_what_makes_no_sense(options)
    console = make_console()
    if options.without or options.story or options.trace:
        return _tell(console, options)
    seeds = range(options.from_seed, options.from_seed + options.seeds)
    began = time.monotonic()
    totals = Totals()
    record = Record(options.record, resume=options.resume)
    try:
        known = {seed: verdict for seed, verdict in record.verdicts.items() if seed in seeds}
        for verdict in known.values():
            totals.add(verdict)
        columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("hunting", total=len(seeds), completed=len(known))
            here = options.jobs == 1 and options.engine != "ray"
            workers = None if here else workers_of(options)
            for verdict in judge_all((seed for seed in seeds if seed not in known), workers):
                record.add(verdict)
                totals.add(verdict)
                progress.update(bar, advance=1)
                if verdict.violation:
                    console.print(f"seed {verdict.seed}: {verdict.checker}: {verdict.violation}")
    except KeyboardInterrupt:
        console.print("interrupted; --record FILE --resume would go on")
        return INTERRUPTED
    except WorkerEndedError as error:
        print(f"hyperpush hunt: {error}", file=sys.stderr)
        return 1
    finally:
        record.close()
    _show(console, totals, time.monotonic() - began)
    for seed in sorted(totals.violations)[:SHOWN_MAX]:
        for line in explain(seed):
            console.print(line)
    return 1 if totals.violations else 0


def _refuse_what_makes_no_sense(options: argparse.Namespace) -> None:
    """What would have no effect was not meant so."""
    if options.trace_agent is not None and options.trace is None:
        raise SettingError("trace_agent", options.trace_agent, "give --trace FOLDER as well")
    if options.without or options.story or options.trace:
        if options.seeds != 1:
            raise SettingError("seeds", options.seeds, "--story, --trace, --without are about one: --seeds 1")
        for name, value in (("record", options.record), ("resume", options.resume)):
            if value:
                shown = "true" if value is True else str(value)
                raise SettingError(name, shown, "--story, --trace, --without keep no verdict: leave it out")
    if options.resume and options.record is None:
        raise HyperpushError("--resume needs --record FILE, with the campaign to go on with")


def _tell(console: Console, options: argparse.Namespace) -> int:
    """One world, with what happened in it."""
    world = draw(options.from_seed)
    if options.without and max(options.without) >= len(world.troubles):
        count = len(world.troubles)
        numbers = f"give numbers from 0 to {count - 1}" if count else "leave it out"
        raise SettingError(
            "without", max(options.without), f"seed {options.from_seed} has {count} troubles; {numbers}"
        )
    for line in world.told(options.without):
        console.print(line)
    if options.story or options.trace:
        trial = Trial(world.without(options.without))
        if options.story:
            trial.listener = lambda now, peer, event: console.print(f"{now:9.2f}  {peer}  {event}")
        origin = {"kind": "hunt", "seed": world.seed, "without": sorted(options.without)}
        with all_traces(options, origin, world.names, console.print, is_real=False) as trial.traces:
            try:
                verdict = trial.run()
            except OnlookerError as error:
                raise error.__cause__ or error from None
    else:
        verdict = judge_twice(world.without(options.without))
    console.print(f"digest {verdict.digest}")
    if verdict.violation:
        console.print(f"{verdict.checker}: {verdict.violation} (at {verdict.at_s:g} s)")
        return 1
    if verdict.settled_s is None:
        found = "links that are cut for ever part the agents, so no answer was asked for"
    else:
        found = f"every agent had the answer {verdict.settled_s:g} s after the last trouble"
    console.print(f"nothing wrong: {found}, {verdict.agent_ticks:,} ticks")
    return 0


def _show(console: Console, totals: Totals, wall_s: float) -> None:
    table = Table(title="what was reached", header_style="bold")
    for heading in ("", "worlds", "times"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name in sorted(totals.marks, key=lambda one: (":" in one, one)):
        table.add_row(name, f"{totals.worlds[name]:,}", f"{totals.marks[name]:,}")
    console.print(table)
    missing = [name for name in EXPECTED if not totals.marks[name]]
    if missing:
        console.print(f"never reached: {', '.join(missing)}")
    console.print(
        f"{totals.seeds:,} worlds, {totals.agent_ticks:,} agent-ticks, {len(totals.violations)} violations, "
        f"{wall_s:.0f} s"
    )
    settled = sorted(totals.settled_s)
    if settled:
        console.print(
            f"{len(settled):,} worlds had to find the answer: it was there "
            f"{statistics.median(settled):.0f} s of virtual time after the last trouble (median; nine in ten "
            f"{settled[len(settled) * 9 // 10]:.0f} s, the last {settled[-1]:.0f} s)"
        )
    if totals.parted:
        console.print(f"{totals.parted:,} had not: links that are cut for ever part the agents")
