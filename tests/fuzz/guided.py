"""Fuzzing that keeps what reaches something new: inputs are changed, thrown, and bred from.

Deterministic: equal seeds throw equal inputs in an equal order, however long it goes on.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tests.fuzz.mutation import change_bytes, change_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

CORPUS_MAX = 1_500  # inputs that are bred from; the oldest make room
INPUT_BYTES_MAX = 2**14
KEPT_BYTES_MAX = 2**12  # of an input that is bred from: long ones are slow
MEASURED_EVERY = 64  # inputs; measuring memory makes everything slower
TREES = 0.7  # share of changes that are made to the value instead of to its bytes
SHRINK_TRIES = 400


class Target(Protocol):
    """Something that reads what strangers say."""

    name: str
    files: tuple[str, ...]  # whose branches count, as the ends of their paths

    def seeds(self) -> list[bytes]:
        """Inputs that are as they should be."""

    def read(self, data: bytes) -> Any:
        """The value that these bytes stand for, to be changed in its structure. Raises ValueError."""

    def write(self, tree: Any) -> bytes:
        """The bytes of a value. Raises ValueError if there are none."""

    def throw(self, data: bytes) -> str:
        """Give it to the program; what became of it, in a word. Whatever it raises is a finding."""


@dataclass(slots=True)
class Finding:
    """A bug, with the smallest input found to show it."""

    error: str
    data: bytes
    story: str


@dataclass(slots=True)
class Totals:
    """What came out of one target."""

    target: str
    inputs: int = 0
    seconds: float = 0.0  # of the processor
    branches: int = 0
    corpus: int = 0
    peak_bytes: int = 0  # allocated while one input was read, the largest measured
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)  # by where it was raised

    def lines(self) -> list[str]:
        """For people."""
        common = ", ".join(f"{name} {count}" for name, count in self.outcomes.most_common(12))
        spent = f"{self.inputs:>7} inputs in {self.seconds:5.1f} s, {self.branches:>5} branches"
        kept = f"{self.corpus:>4} kept, peak {self.peak_bytes / 1e6:.2f} MB, {len(self.findings)} findings"
        return [
            f"{self.target:9} {spent}, {kept}",
            f"          {common}",
            *(
                f"  FOUND {one.error}\n    {one.data[:200]!r} ({len(one.data)} bytes)\n{one.story}"
                for one in self.findings.values()
            ),
        ]


class Branches:
    """Which line followed which in the files that count. Nothing is seen while another tracer is at work."""

    def __init__(self, files: tuple[str, ...]) -> None:
        self.seen: set[tuple[int, int, int]] = set()
        self._files = files
        self._counts: dict[int, int] = {}  # by id of the code, which lives as long as its module; 0: none

    def watch(self, call: Callable[[bytes], str], data: bytes) -> str:
        """`call(data)`, noting branches."""
        if sys.gettrace() is not None:
            return call(data)
        sys.settrace(self._called)
        try:
            return call(data)
        finally:
            sys.settrace(None)

    def _called(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        number = self._counts.get(id(code))
        if number is None:
            number = len(self._counts) + 1 if code.co_filename.endswith(self._files) else 0
            self._counts[id(code)] = number
        if not number:
            return None
        last = -1

        def step(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal last
            line = frame.f_lineno if event == "line" else -2 if event == "return" else -3
            self.seen.add((number, last, line))
            last = line
            return step

        return step


def fuzz(target: Target, *, seed: int, inputs: int | None = None, seconds: float | None = None) -> Totals:
    """Throw so many inputs, or for so many seconds of the processor."""
    rng = random.Random(f"{seed}/{target.name}")
    totals = Totals(target.name)
    branches = Branches(target.files)
    corpus: list[bytes] = []
    began = time.process_time()
    waiting = target.seeds()
    while (inputs is None or totals.inputs < inputs) and (
        seconds is None or time.process_time() - began < seconds
    ):
        data = waiting.pop() if waiting else _breed(rng, target, corpus)
        before = len(branches.seen)
        _throw(target, data, branches, totals)
        news = len(branches.seen) > before and len(data) <= KEPT_BYTES_MAX
        if news or waiting or len(corpus) < 2:
            corpus.append(data)
            del corpus[:-CORPUS_MAX]
        totals.inputs += 1
    totals.seconds = time.process_time() - began
    totals.branches, totals.corpus = len(branches.seen), len(corpus)
    for finding in totals.findings.values():
        finding.data = shrink(target, finding.data)
    return totals


def _throw(target: Target, data: bytes, branches: Branches, totals: Totals) -> None:
    measured = totals.inputs % MEASURED_EVERY == 0 and not tracemalloc.is_tracing()
    if measured:
        tracemalloc.start()
    try:
        outcome = target.throw(data) if measured else branches.watch(target.throw, data)
        totals.outcomes[outcome] += 1
    except Exception as error:  # whatever it is: that is what is looked for
        where = where_raised(error)
        totals.outcomes["FOUND"] += 1
        totals.findings.setdefault(
            where, Finding(where, data, "".join(traceback.format_exception(error, limit=-4)))
        )
    finally:
        if measured:
            totals.peak_bytes = max(totals.peak_bytes, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()


def where_raised(error: Exception) -> str:
    """Type and place: the same bug is told once."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__} in {'/'.join(last.filename.split('/')[-2:])}:{last.name}: {str(error)[:120]}"
    )


def _breed(rng: random.Random, target: Target, corpus: list[bytes]) -> bytes:
    """A changed copy of one input, more often of a new one."""
    parent = corpus[max(rng.randrange(len(corpus)), rng.randrange(len(corpus)))]
    other = rng.choice(corpus)
    if rng.random() < TREES:
        try:
            data = target.write(change_tree(rng, target.read(parent), target.read(other)))
        except (ValueError, OverflowError, TypeError, RecursionError):
            data = change_bytes(rng, parent, other)
    else:
        data = change_bytes(rng, parent, other)
    return data[:INPUT_BYTES_MAX]


def shrink(target: Target, data: bytes) -> bytes:
    """A shorter input that raises the same, if one is found by leaving parts out."""
    wanted = _raised(target, data)
    size, tries = len(data) // 2, 0
    while size and tries < SHRINK_TRIES:
        start = 0
        while start < len(data) and tries < SHRINK_TRIES:
            tries += 1
            shorter = data[:start] + data[start + size :]
            if wanted is not None and _raised(target, shorter) == wanted:
                data = shorter
            else:
                start += size
        size //= 2
    return data


def _raised(target: Target, data: bytes) -> str | None:
    try:
        target.throw(data)
    except Exception as error:
        return where_raised(error).partition(": ")[0]
    return None
