"""What one agent of each built-in task costs on this machine: memory, and time of one core per tick.

    python deploy/measure.py                       # digits, synthetic, fedem-synthetic
    python deploy/measure.py digits --personalization lora:2

Starts four agents that learn together on this machine, each in a process with one thread, over sealed links,
and watches the first while it ticks: what it costs beside others that are elsewhere. Options that are not its
own are given to `hyperpush run`. It needs Linux, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TASKS = ("digits", "synthetic", "fedem-synthetic")  # whose data need not be fetched
AGENTS = 4  # each pushes to the three others, as in a larger swarm
PROGRAM = (sys.executable, "-c", "import sys; from peer.cli import main; sys.exit(main())")
STARTED_S_MAX = 300.0  # a small machine takes a minute to load PyTorch four times
LOOK_S = 0.2


class Sample(NamedTuple):
    """One look at a process and its agent."""

    ticks: int
    sent: int  # bytes
    core_s: float
    resident: int  # bytes, now
    peak: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each task."""
    parser = argparse.ArgumentParser(description="What one agent costs on this machine.", allow_abbrev=False)
    parser.add_argument("tasks", nargs="*", default=TASKS, metavar="TASK")
    parser.add_argument("--seconds", type=float, default=20.0, help="to watch for (default: 20)")
    options, rest = parser.parse_known_args(arguments)
    print(f"{'task':<18}{'memory':>10}{'at most':>10}{'a tick':>10}{'ticks/s':>9}{'sent/s':>10}")
    for task in options.tasks:
        with started(task, rest) as (process, url):
            before, began = look(process, url), time.monotonic()
            pause(options.seconds)
            after, passed_s = look(process, url), time.monotonic() - began
        ticks = after.ticks - before.ticks
        cost_ms = (after.core_s - before.core_s) / ticks * 1e3 if ticks else float("nan")
        print(
            f"{task:<18}{after.resident / 2**20:>6.0f} MiB{after.peak / 2**20:>6.0f} MiB{cost_ms:>7.1f} ms"
            f"{ticks / passed_s:>9.1f}{(after.sent - before.sent) / passed_s / 1e3:>7.0f} kB",
            flush=True,
        )
    return 0


@contextlib.contextmanager
def started(task: str, rest: Sequence[str]) -> Iterator[tuple[int, str]]:
    """AGENTS agents that learn with each other; number and URL of the first. All end afterwards."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HYPERPUSH_")},
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as running:
        folder = Path(name)
        with (folder / "key").open("w") as key:
            subprocess.run([*PROGRAM, "keys", "new-swarm"], check=True, stdout=key)  # noqa: S603  (our own)
        common = ("--task", task, "--key", str(folder / "key"), "--no-zeroconf", *rest)
        here = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        found: list[tuple[int, str, str]] = []
        for number in range(1, AGENTS + 1):
            known = [word for _, address, _ in found for word in ("--peer", address)]
            log = running.enter_context((folder / f"{number}").open("wb+"))
            command = [*PROGRAM, "run", *common, *here, *known, "--shard", f"{number}/{AGENTS}"]
            process = subprocess.Popen(  # noqa: S603  (our own)
                command, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
            running.callback(end, process)
            found.append((process.pid, *addresses(process, Path(log.name))))
        pid, _, url = found[0]
        wait_until(lambda: learns_with_all(url), "the agents do not find each other")
        yield pid, url


def end(process: subprocess.Popen[bytes]) -> None:
    """As `hyperpush run` is ended: it says goodbye, and does not score."""
    process.terminate()
    process.wait()


def addresses(process: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    """Where an agent listens to others, and to us, once it says so."""
    said = r"listens on (\S+),(?s:.*)status and faults: (\S+)"

    def text() -> str:
        return log.read_text(encoding="utf-8", errors="replace")

    wait_until(lambda: process.poll() is not None or re.search(said, text()), "an agent does not start")
    found = re.search(said, text())
    if found is None:
        sys.exit(text().strip())
    return found[1], found[2]


def wait_until(done: Any, problem: str) -> None:
    """Look again and again. Ends the program with `problem` if it takes too long."""
    latest = time.monotonic() + STARTED_S_MAX
    while not done():
        if time.monotonic() > latest:
            sys.exit(f"{problem} within {STARTED_S_MAX:.0f} s")
        pause(LOOK_S)


def pause(seconds: float) -> None:
    """Let the agents work."""
    time.sleep(seconds)


def status(url: str) -> dict[str, Any]:
    """What `hyperpush status` shows."""
    with urllib.request.urlopen(f"{url}/v1/status", timeout=30) as answer:  # noqa: S310  (of our own process)
        found = json.load(answer)
    assert isinstance(found, dict)
    return found


def learns_with_all(url: str) -> bool:
    """Whether the agent steps, and hears and is heard by all others."""
    found = status(url)
    heard = [link for link in found["links"] if link["hears"] and link["heard_by"]]
    return found["phase"] == "running" and len(heard) == AGENTS - 1


def look(process: int, url: str) -> Sample:
    """The agent and its process now."""
    found = status(url)
    folder = Path("/proc") / str(process)
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    kibibytes = dict(
        re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", (folder / "status").read_text(), re.MULTILINE)
    )
    return Sample(
        found["tick"],
        sum(link["bytes_sent"] for link in found["links"]),
        (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        int(kibibytes["VmRSS"]) * 1024,
        int(kibibytes["VmHWM"]) * 1024,
    )


if __name__ == "__main__":
    sys.exit(main())
