"""Many seeds, in several processes, with a record that lets a campaign go on where it was stopped."""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from peer.errors import HyperpushError
from peer.hunt.shrink import run, shrink
from peer.hunt.trial import Verdict
from peer.hunt.world import draw

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

AGAIN_EVERY = 20  # seeds, of which one is run twice: equal worlds must give equal digests
AHEAD = 4  # trials per process that wait


def judge(seed: int, left_out: Collection[int] = ()) -> Verdict:
    """The verdict on the world of a seed; now and then it is asked for twice."""
    world = draw(seed).without(left_out)
    verdict = run(world)
    if seed % AGAIN_EVERY == 0 and run(world) != verdict:
        return Verdict(seed, verdict.digest, "a second run has another digest or verdict", "determinism")
    return verdict


def judge_all(seeds: Iterable[int], jobs: int) -> Iterator[Verdict]:
    """In the order in which they are done."""
    if jobs == 1:
        yield from map(judge, seeds)
        return
    todo = iter(seeds)
    context = multiprocessing.get_context("spawn")  # nothing of this process is copied
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as processes:
        under_way: set[concurrent.futures.Future[Verdict]] = set()
        while True:
            for seed in todo:
                under_way.add(processes.submit(judge, seed))
                if len(under_way) >= AHEAD * jobs:
                    break
            if not under_way:
                return
            done, under_way = concurrent.futures.wait(
                under_way, return_when=concurrent.futures.FIRST_COMPLETED
            )
            yield from sorted((one.result() for one in done), key=lambda verdict: verdict.seed)


@dataclass(slots=True)
class Totals:
    """What a campaign has seen."""

    seeds: int = 0
    agent_ticks: int = 0
    marks: Counter[str] = field(default_factory=Counter)  # how often
    worlds: Counter[str] = field(default_factory=Counter)  # in how many worlds
    settled_s: list[float] = field(default_factory=list)
    violations: dict[int, Verdict] = field(default_factory=dict)

    def add(self, verdict: Verdict) -> None:
        """Count one world."""
        self.seeds += 1
        self.agent_ticks += verdict.agent_ticks
        self.marks.update(verdict.marks)
        self.worlds.update(name for name, count in verdict.marks.items() if count)
        if verdict.violation:
            self.violations[verdict.seed] = verdict
        else:
            self.settled_s.append(verdict.settled_s)


class Record:
    """One line of JSON per verdict, so that a campaign may be stopped at any time.

    Raises HyperpushError for a file that holds something else. A last line cut short is written again.
    """

    def __init__(self, path: Path | None, *, resume: bool) -> None:
        self.verdicts: list[Verdict] = []
        self._file = None
        if path is None:
            return
        try:
            whole = path.read_text(encoding="utf-8") if resume and path.exists() else ""
        except (OSError, ValueError) as error:
            raise HyperpushError(f"record: {str(path)!r} cannot be read: {error}; give another") from None
        whole = whole[: whole.rfind("\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                self.verdicts.append(Verdict(**json.loads(line)))
            except (ValueError, TypeError):
                raise HyperpushError(
                    f"record: line {number} of {str(path)!r} is no verdict; give another file"
                ) from None
        self._file = path.open("a", encoding="utf-8")
        self._file.truncate(len(whole.encode()))

    def add(self, verdict: Verdict) -> None:
        """Keep it."""
        if self._file is not None:
            self._file.write(json.dumps(asdict(verdict)) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Nothing is added afterwards."""
        if self._file is not None:
            self._file.close()


def explain(seed: int) -> Iterator[str]:
    """The world of a seed that shows a violation, made short, and how to see it again."""
    world = draw(seed)
    left_out, verdict = shrink(world, run(world))
    flags = f" --without {','.join(map(str, sorted(left_out)))}" if left_out else ""
    yield f"seed {seed}: {verdict.checker}: {verdict.violation} (at {verdict.at_s:g} s)"
    for line in world.told(left_out):
        yield f"    {line}"
    yield f"    again: hyperpush hunt --from-seed {seed} --seeds 1 --story{flags}"
