"""Results of random worlds by seed, measured by several processes, kept as they come, and gone on with."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from peer.bench.measured import Measured
from peer.exit_codes import INTERRUPTED
from peer.jsonable import write_json
from peer.spread.workers import workers_of
from peer.worker_processes import as_done

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Found:
    """What is known, by seed, as JSON has it."""

    results: dict[int, Any]
    interrupted: bool
    told_of_other_code: Sequence[str]  # lines for people


def measure_seeds(
    options: argparse.Namespace,
    console: Console,
    *,
    benchmark: str,
    measure: Callable[[int], dict[str, Any]],
) -> Found:
    """`measure` each seed that the record of the options does not have yet, in any process.

    Ctrl-C ends it early with what there is. Raises `HyperpushError` for a record that is none.
    """
    seeds = range(options.from_seed, options.from_seed + options.seeds)
    record = Measured(options.record, resume=options.resume, benchmark=benchmark, of=measure.__module__)
    results = {seed: record.found[str(seed)] for seed in seeds if str(seed) in record.found}
    missing = [seed for seed in seeds if seed not in results]
    interrupted = False
    try:
        with Progress(console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("measuring", total=options.seeds, completed=len(results))
            for seed, result in as_done(measure, missing, workers_of(options)):
                record.add(str(seed), result)
                results[seed] = result
                progress.update(bar, advance=1, description=f"world {seed}")
    except KeyboardInterrupt:
        interrupted = True
        console.print("interrupted; --record FILE --resume goes on. What there is:")
    finally:
        record.close()
    told = record.told_of_other_code([str(seed) for seed in results], "worlds")
    return Found(dict(sorted(results.items())), interrupted, list(told))


def finish(
    found: Found, console: Console, options: argparse.Namespace, began: float, content: Callable[[], object]
) -> int:
    """Say how long it took and by which code, write what `--json` asks for; the exit code."""
    if found.results:
        console.print(f"{time.perf_counter() - began:.0f} s.")
        for line in found.told_of_other_code:
            console.print(line)
        if options.json is not None:
            write_json(options.json, content())
    return INTERRUPTED if found.interrupted else 0


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
