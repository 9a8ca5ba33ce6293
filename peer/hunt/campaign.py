"""Many seeds, in several processes, with a record that lets a campaign go on where it was stopped."""

from __future__ import annotations

import concurrent.futures
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from peer.errors import HyperpushError
from peer.hunt import record, twice
from peer.hunt.shrink import run, shrink
from peer.hunt.trial import Verdict
from peer.hunt.world import draw
from peer.record_file import RecordFile
from peer.sources import code
from peer.worker_processes import worker_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from peer.hunt.world import World
    from peer.worker_processes import Workers

P = ParamSpec("P")
T = TypeVar("T")

AGAIN_EVERY = 20  # seeds, of which one is run twice: equal worlds must give equal digests
AHEAD = 4  # trials per process that wait
HASH_SEED = "PYTHONHASHSEED"


class WorkerEndedError(HyperpushError):
    """A process of the campaign is no more: killed, or out of memory."""


def judge(seed: int, left_out: Collection[int] = ()) -> Verdict:
    """The verdict on the world of a seed; now and then it is asked for twice."""
    world = draw(seed).without(left_out)
    verdict = run(world)
    if seed % AGAIN_EVERY == 0 and elsewhere(run, world) != verdict:
        return Verdict(seed, verdict.digest, "a second run has another digest or verdict", "determinism")
    return verdict


def judge_twice(world: World) -> Verdict:
    """The verdict, which is that two differ if they do, and where they part."""
    here = twice.noted(world)
    found = twice.difference(here, elsewhere(twice.marked, world))
    return replace(here[0], violation=found, checker="determinism") if found else here[0]


def elsewhere(function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
    """What it gives in a fresh process, in which sets have other orders and nothing has run before."""
    before = os.environ.get(HASH_SEED)
    os.environ[HASH_SEED] = "1" if before != "1" else "2"
    try:
        with worker_processes(1) as other:
            return other.submit(function, *arguments, **keywords).result()
    finally:
        del os.environ[HASH_SEED]
        if before is not None:
            os.environ[HASH_SEED] = before


def judge_all(seeds: Iterable[int], workers: AbstractContextManager[Workers] | None) -> Iterator[Verdict]:
    """In the order in which they are done; without workers, here.

    Raises WorkerEndedError, which names those that were not.
    """
    if workers is None:
        yield from map(judge, seeds)
        return
    todo = iter(seeds)
    under_way: dict[concurrent.futures.Future[Verdict], int] = {}
    with workers as processes:
        while True:
            try:
                for seed in todo:
                    under_way[processes.submit(judge, seed)] = seed
                    if len(under_way) >= AHEAD * processes.jobs:
                        break
                if not under_way:
                    return
                done, _ = concurrent.futures.wait(under_way, return_when=concurrent.futures.FIRST_COMPLETED)
                verdicts = [one.result() for one in done]
            except processes.lost:
                raise WorkerEndedError(
                    "a process was ended from outside (killed, or out of memory) while one of the seeds "
                    f"{', '.join(map(str, sorted(under_way.values())))} was judged; a campaign with --record "
                    "goes on with --resume; --jobs 1 shows whether one of them takes all memory"
                ) from None
            for one in done:
                del under_way[one]
            yield from sorted(verdicts, key=lambda verdict: verdict.seed)


@dataclass(slots=True)
class Totals:
    """What a campaign has seen."""

    seeds: int = 0
    agent_ticks: int = 0
    marks: Counter[str] = field(default_factory=Counter)  # how often
    worlds: Counter[str] = field(default_factory=Counter)  # in how many worlds
    parted: int = 0  # worlds in which no answer was asked for: links cut for ever part the agents
    settled_s: list[float] = field(default_factory=list)  # of the others
    violations: dict[int, Verdict] = field(default_factory=dict)

    def add(self, verdict: Verdict) -> None:
        """Count one world."""
        self.seeds += 1
        self.agent_ticks += verdict.agent_ticks
        self.marks.update(verdict.marks)
        self.worlds.update(name for name, count in verdict.marks.items() if count)
        if verdict.violation:
            self.violations[verdict.seed] = verdict
        elif verdict.settled_s is None:
            self.parted += 1
        else:
            self.settled_s.append(verdict.settled_s)


class Record(RecordFile):
    """A file of verdicts, see `peer.hunt.record`, so that a campaign may be stopped at any time.

    Raises HyperpushError as `RecordFile`, and for a file that holds something else or what other code has
    judged.
    """

    def __init__(self, path: Path | None, *, resume: bool) -> None:
        self.verdicts: dict[int, Verdict] = {}
        super().__init__(path, resume=resume, read=self._read, first=lambda: record.header(code(__name__)))

    def _read(self, content: bytes) -> int:
        self.verdicts, whole = record.read(content, code(__name__))
        return whole

    def add(self, verdict: Verdict) -> None:
        """Keep it."""
        self.add_line(record.line_of(verdict))


def explain(seed: int) -> Iterator[str]:
    """The world of a seed that shows a violation, made short, and how to see it again."""
    world = draw(seed)
    found = run(world)
    judged: Callable[[World], Verdict] = run
    if not found.violation:
        judged = judge_twice
        found = judge_twice(world)
    if not found.violation:
        yield f"seed {seed}: shows nothing wrong any more, alone or in a process of its own"
        return
    left_out, verdict = shrink(world, found, judged)
    flags = "" if verdict.checker == "determinism" else " --story"  # which would tell of one run
    flags += f" --without {','.join(map(str, sorted(left_out)))}" if left_out else ""
    yield f"seed {seed}: {verdict.checker}: {verdict.violation} (at {verdict.at_s:g} s)"
    for line in world.told(left_out):
        yield f"    {line}"
    yield f"    again: hyperpush hunt --from-seed {seed} --seeds 1{flags}"
