"""`hyperpush bench memory`: what an agent holds, by purpose, beside the count that the method implies."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from peer.bench.ring import Ring
from peer.bench.tick import chosen_cases, make_problem
from peer.checkup.holdings import tensor_storages
from peer.display import make_console
from peer.errors import HyperpushError
from peer.jsonable import check_json, write_json
from peer.recorder import versions
from peer.settings import AgentSettings
from peer.worker_threads import one_thread

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from peer.assembly import TensorAgent
    from peer.bench.tick import Case

FANOUT: Final = AgentSettings().fanout
TICKS: Final = 20  # after which all that is made once is made
WIDE, NARROW = 8, 4  # bytes of a number: float64 for what an agent keeps; float32 of models and on the wire
STREAMS: Final = 2

IMPLIED: Final = {
    "streams": STREAMS * (3 * WIDE + 2 * NARROW),
    "derivatives": (STREAMS * 2 + 1) * NARROW,
    "curvature": 3 * WIDE,
    "neighbours": FANOUT * STREAMS * NARROW,
    "messages": FANOUT * STREAMS * 2 * NARROW,
}
"""Bytes of each parameter, by purpose; CAPTION says of what."""

SHARE_MAX: Final = 1.15  # of what is implied: the target
TIMES_MAX: Final = 20.0  # the bytes of the parameters: the target
RESIDENT_MAX: Final = 300e6  # bytes of a process with one small agent: the target
RESIDENT_TICKS: Final = 100
RESIDENT_S: Final = 120.0  # then it is given up
MEASURED: Final = """\
import re, resource, sys
from pathlib import Path
from peer.cli import main
code = main(sys.argv[1:])
status = Path("/proc/self/status")  # where there is one: elsewhere the most of whoever started it counts, too
if status.exists():
    print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
sys.exit(code)
"""

CAPTION: Final = f"""\
Bytes an agent holds in tensors for each parameter of the model, beside what the method implies. From each
of {FANOUT} neighbours a message waits to be taken in. Float32 models and messages.
  streams      of model and adjoint each: estimate, velocity and tracker in float64, the own gradient, and the
               sum of what was pushed, as narrow as they come
  derivatives  model and adjoint as the losses take them, the gradients of both, and the initial model
  curvature    the direction of the largest curvature, and the points from which motion and noise are measured
  neighbours   of each and of both streams: the sum that it had pushed when it was last heard
  messages     of each: estimate and sum of both streams, until the next tick takes them in
  others       all else"""


@dataclass(frozen=True, slots=True)
class Row:
    """One model; bytes."""

    case: str
    parameters: int
    held: dict[str, int]  # by purpose, of IMPLIED and `others`

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.held.values())

    @property
    def share(self) -> float:
        """Of what is implied."""
        return self.total / (sum(IMPLIED.values()) * self.parameters)

    @property
    def times(self) -> float:
        """The bytes of the parameters alone."""
        return self.total / (NARROW * self.parameters)


def main(options: argparse.Namespace) -> int:
    """Measure, print the table, and write it with `--json`; 0 also if a target is missed.

    Raises `SettingError` for a model that there is not, and HyperpushError if an agent cannot be started.
    """
    cases = chosen_cases(options.models)
    check_json(options.json)
    console = make_console()
    with one_thread():
        rows = [measure(case) for case in cases]
    resident = resident_bytes()
    console.print(as_table(rows))
    console.print(CAPTION)
    for line in verdict(rows, resident):
        console.print(line)
    if options.json is not None:
        write_json(options.json, as_json(rows, resident))
    return 0


def measure(case: Case) -> Row:
    """Of the first of a few agents that hear each other, just before its tick."""
    problems = [make_problem(case, seed) for seed in range(FANOUT + 1)]
    ring = Ring(problems, AgentSettings(warm_up_ticks=2.0, tick_jitter=0.0, evaluate_every=0))
    ring.settle()
    for _ in range(TICKS):
        ring.tick()
    agent = ring.agents[0]
    return Row(case.name, agent.solver.model.estimate.numel(), held(agent))


def held(agent: TensorAgent) -> dict[str, int]:
    """Bytes by purpose, each storage once."""
    solver = agent.solver
    streams: Sequence[Any] = solver.streams
    parts = {
        "neighbours": [stream.mass.received for stream in streams],
        "messages": [agent.inbox],
        "streams": list(streams),
        "derivatives": [solver.learner],
        "curvature": [solver.tuner],
        "others": [agent],
    }
    known: set[int] = set()
    found = {}
    for purpose, things in parts.items():
        storages = tensor_storages(things, without=(Ring,))
        found[purpose] = sum(size for where, size in storages.items() if where not in known)
        known |= storages.keys()
    return {purpose: found[purpose] for purpose in (*IMPLIED, "others")}


def resident_bytes() -> int:
    """The most that a process of its own with one agent of the digits task has had in memory."""
    command = [
        *(sys.executable, "-c", MEASURED, "run", "--listen", "127.0.0.1:0", "--admin", "none"),
        *("--no-zeroconf", "--until", f"ticks:{RESIDENT_TICKS}", "--until", f"time:{RESIDENT_S:g}s"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own)
    if done.returncode:
        said = done.stderr.strip()[-500:]
        raise HyperpushError(f"an agent of its own ended with {done.returncode}: {said}")
    return int(done.stdout.split()[-1])


def as_table(rows: Sequence[Row]) -> Table:
    """For people: bytes of each parameter."""
    table = Table(header_style="bold")
    table.add_column("")
    table.add_column("implied", justify="right")
    for row in rows:
        table.add_column(f"{row.case}\n{row.parameters:,}", justify="right")
    for purpose in (*IMPLIED, "others"):
        each = (f"{row.held[purpose] / row.parameters:.1f}" for row in rows)
        table.add_row(purpose, f"{IMPLIED.get(purpose, 0)}", *each)
    table.add_section()
    table.add_row("all", f"{sum(IMPLIED.values())}", *(f"{row.total / row.parameters:.1f}" for row in rows))
    table.add_row("times what is implied", "", *(f"{row.share:.2f}" for row in rows))
    table.add_row("times the parameters", "", *(f"{row.times:.1f}" for row in rows))
    return table


def verdict(rows: Sequence[Row], resident: int) -> list[str]:
    """One line for each target, reached or not."""
    word = _word(resident, RESIDENT_MAX)
    megabytes = f"{resident / 1e6:.0f} MB {word} the target of {RESIDENT_MAX / 1e6:g}"
    return [
        *(
            f"{row.case}: {row.share:.2f} times what is implied {_word(row.share, SHARE_MAX)} the target of "
            f"{SHARE_MAX:g}; {row.times:.1f} times the bytes of the parameters {_word(row.times, TIMES_MAX)} "
            f"that of {TIMES_MAX:g}."
            for row in rows
        ),
        f"a process with one agent of the digits task: {megabytes}.",
    ]


def _word(found: float, at_most: float) -> str:
    return "reaches" if found <= at_most else "misses"


def as_json(rows: Sequence[Row], resident: int) -> dict[str, Any]:
    """For programs."""
    return {
        "versions": versions(),
        "implied_bytes_per_parameter": IMPLIED,
        "resident_bytes": resident,
        "rows": [asdict(row) for row in rows],
    }
