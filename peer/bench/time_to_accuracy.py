"""`hyperpush bench time-to-accuracy`: seconds from starting a process until its swarm has learned."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from peer.display import make_console
from peer.errors import HyperpushError
from peer.jsonable import check_json, write_json
from peer.recorder import versions
from peer.until import parse_goal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

AGENTS: Final = 8
DROP: Final = 0.2
EVALUATE_EVERY: Final = 5  # ticks: the accuracy has to hold for three evaluations
LIMIT_S: Final = 120.0  # then it is given up
SECONDS_MAX: Final = 8.0  # the target, for an accuracy of 0.90
TARGET: Final = 0.90
IMPORTS: Final = "import peer.service, peer.tasks; peer.tasks.make_task('digits', 8, 0, 'none').problems"

CAPTION: Final = f"""\
Seconds from starting the process, importing included. {AGENTS} agents of the digits task over sockets of this
machine, {DROP:.0%} of all messages lost; each holds a part of the training samples, and all learn one model.
  alone     a process that only imports, reads the data and makes the problems
  first     the first epoch is entered: all agents listen
  learned   the mean test accuracy is there, in three evaluations in a row, {EVALUATE_EVERY} ticks apart"""


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds since a process was started."""

    alone_s: float
    first_s: float
    learned_s: float


def main(options: argparse.Namespace) -> int:
    """Measure, print the table, and write it with `--json`; 0 also if the target is missed.

    Raises `SettingError` for what no accuracy can be, and HyperpushError for one that is not reached.
    """
    parse_goal(f"accuracy:{options.accuracy!r}")
    check_json(options.json)
    console = make_console()
    runs = [Run(imported_s(), *learned_s(options.accuracy)) for _ in range(options.runs)]
    console.print(as_table(runs))
    console.print(CAPTION)
    console.print(verdict(runs, options.accuracy))
    if options.json is not None:
        found = {"versions": versions(), "processors": os.cpu_count(), "accuracy": options.accuracy}
        write_json(options.json, {**found, "runs": [asdict(run) for run in runs]})
    return 0


def imported_s() -> float:
    """Until a process that only imports has ended."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)  # noqa: S603  (our own command)
    return time.monotonic() - began


def learned_s(accuracy: float) -> tuple[float, float]:
    """Seconds until the first epoch, and until the accuracy."""
    command = [
        *(sys.executable, "-m", "peer.cli", "swarm", "--agents", str(AGENTS), "--drop", str(DROP)),
        *("--personalization", "none", "--evaluate-every", str(EVALUATE_EVERY), "--admin", "none"),
        *("--until", f"accuracy:{accuracy!r}", "--until", f"time:{LIMIT_S:g}s", "--log-format", "json"),
    ]
    began, first_s = time.monotonic(), 0.0
    said: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            if said["event"] == "EpochEntered" and not first_s:
                first_s = time.monotonic() - began
            if said["event"] == "said" and said["message"].startswith("scoring"):
                learned = time.monotonic() - began
                process.send_signal(signal.SIGKILL)  # it would train each agent alone for comparison
                break
        else:
            raise HyperpushError(f"the swarm ended before it had learned: {said.get('message', 'no word')}")
    if learned >= LIMIT_S:
        raise HyperpushError(f"accuracy {accuracy:g} was not reached within {LIMIT_S:g} s; give a lower one")
    return first_s, learned


def as_table(runs: Sequence[Run]) -> Table:
    """For people: seconds."""
    table = Table(header_style="bold")
    for heading in ("run", "alone s", "first s", "learned s", "learned / alone"):
        table.add_column(heading, justify="right")
    for number, run in enumerate(runs, 1):
        times = (f"{seconds:.2f}" for seconds in (run.alone_s, run.first_s, run.learned_s))
        table.add_row(str(number), *times, f"{run.learned_s / run.alone_s:.2f}")
    return table


def verdict(runs: Sequence[Run], accuracy: float) -> str:
    """One line."""
    found = statistics.median(run.learned_s for run in runs)
    told = f"accuracy {accuracy:.2f} after {found:.1f} s in the median of {len(runs)}"
    if accuracy != TARGET:
        return f"{told}."
    return f"{told} {'reaches' if found <= SECONDS_MAX else 'misses'} the target of {SECONDS_MAX:g}."
