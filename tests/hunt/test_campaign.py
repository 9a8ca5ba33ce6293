"""A campaign: many worlds in several processes, and the record of what became of them."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from peer.errors import HyperpushError
from peer.hunt import record, twice
from peer.hunt.campaign import (
    HASH_SEED,
    Record,
    Totals,
    WorkerEndedError,
    elsewhere,
    explain,
    judge,
    judge_all,
    judge_twice,
)
from peer.hunt.marks import EXPECTED
from peer.hunt.shrink import run
from peer.hunt.trial import Trial, Verdict
from peer.hunt.world import Trouble, draw
from peer.sources import code
from peer.worker_processes import worker_processes

if TYPE_CHECKING:
    from pathlib import Path

VERDICTS = [Verdict(seed, "digest", marks={"LinkDeaf": seed}, settled_s=float(seed)) for seed in range(3)]


# ---- worlds


def test_verdicts_do_not_depend_on_the_number_of_processes() -> None:
    """Each twentieth world is run twice, and has to give the same digest."""
    one = list(judge_all(range(19, 22), None))
    two = sorted(judge_all(range(19, 22), worker_processes(2)), key=lambda verdict: verdict.seed)
    assert one == two
    assert [verdict.seed for verdict in one] == [19, 20, 21]


def test_nothing_is_wrong_in_two_hundred_worlds() -> None:
    """The campaign before a release has ten thousand: `hyperpush hunt --seeds 10000`."""
    totals = Totals()
    for verdict in judge_all(range(200), worker_processes(os.cpu_count() or 1)):
        totals.add(verdict)
    assert not totals.violations, "\n".join(line for seed in totals.violations for line in explain(seed))
    missing = [mark for mark in EXPECTED if not totals.marks[mark]]
    assert len(missing) <= len(EXPECTED) // 8, f"hardly anything was reached: {missing}"


def test_worlds_without_an_answer_are_counted_apart() -> None:
    totals = Totals()
    for verdict in (*VERDICTS, Verdict(3, ""), Verdict(9, "", "wrong", "mass")):
        totals.add(verdict)
    assert (totals.seeds, totals.marks["LinkDeaf"], totals.worlds["LinkDeaf"]) == (5, 3, 2)
    assert totals.settled_s == [0.0, 1.0, 2.0]
    assert totals.parted == 1
    assert list(totals.violations) == [9]


# ---- equal worlds, equal verdicts


def hash_seed() -> str | None:
    return os.environ.get(HASH_SEED)


def orders() -> list[str]:
    return list({"a", "b", "c", "d", "e", "f", "g", "h"})


def test_a_second_run_is_in_a_process_whose_sets_have_other_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    for here, there in ((None, "1"), ("1", "2"), ("7", "1")):
        if here is None:
            monkeypatch.delenv(HASH_SEED, raising=False)
        else:
            monkeypatch.setenv(HASH_SEED, here)
        assert elsewhere(hash_seed) == there
        assert hash_seed() == here
    monkeypatch.setenv(HASH_SEED, "1")
    one = elsewhere(orders)
    monkeypatch.setenv(HASH_SEED, "2")
    assert elsewhere(orders) != one


def test_a_world_that_is_not_repeatable_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.hunt.campaign.elsewhere", lambda function, world: function(world))
    digests = iter("ab")
    monkeypatch.setattr("peer.hunt.campaign.run", lambda world: Verdict(world.seed, next(digests)))
    assert judge(20).checker == "determinism"


def test_what_is_not_repeatable_is_told_by_what_happens_first_and_by_the_trouble_that_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was told as an empty violation of nothing, with every trouble left out."""
    monkeypatch.setattr("peer.hunt.campaign.elsewhere", lambda function, world: function(world))
    world = replace(draw(12), troubles=tuple(Trouble(kind, kind) for kind in ("rain", "leap", "fog")))
    monkeypatch.setattr("peer.hunt.campaign.draw", lambda seed: world)
    runs = itertools.count()
    trial_run = Trial.run

    def other_each_time(trial: Trial) -> Verdict:
        if any(trouble.kind == "leap" for trouble in trial.world.troubles):
            number = next(runs)
            trial.simulation.at(30.0, lambda: trial.simulation.jump(trial.members[0].peer, 1.0 + number))
        return trial_run(trial)

    monkeypatch.setattr(Trial, "run", other_each_time)
    first, _, *troubles, last = explain(12)
    assert first.startswith(
        "seed 12: determinism: a second run does something else: the first has as number "
    )
    assert "jump of " in first
    assert troubles == ["    trouble 1: leap: leap"]
    assert last == "    again: hyperpush hunt --from-seed 12 --seeds 1 --without 0,2"


def test_a_violation_that_does_not_show_again_is_said_to_be_one() -> None:
    assert list(explain(12)) == ["seed 12: shows nothing wrong any more, alone or in a process of its own"]
    assert judge_twice(draw(12)) == run(draw(12))


def test_two_runs_are_told_apart() -> None:
    def happened(*contents: bytes) -> list[bytes]:
        return [bytes(8) + b"|send|a|" + content for content in contents]

    def marks(*contents: bytes) -> bytes:
        return b"".join(map(twice._mark, happened(*contents)))

    verdict = Verdict(0, "")
    assert twice.difference((verdict, happened(b"1")), (verdict, marks(b"1"))) == ""
    assert "number 1 send of a at 0 s: 32" in twice.difference(
        (verdict, happened(b"1", b"2")), (verdict, marks(b"1", b"3"))
    )
    assert "ends before" in twice.difference((verdict, happened(b"1", b"2")), (verdict, marks(b"1")))
    assert "goes on" in twice.difference((verdict, happened(b"1")), (verdict, marks(b"1", b"2")))
    other = replace(verdict, agent_ticks=1)
    assert "differs: agent_ticks" in twice.difference((verdict, happened(b"1")), (other, marks(b"1")))


# ---- processes


def ended(seed: int) -> Verdict:
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return Verdict(seed, "")


def test_a_process_that_is_killed_is_told_with_the_seeds_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.hunt.campaign.judge", ended)
    found = []
    with pytest.raises(WorkerEndedError, match=r"seeds .*\b2\b.* --resume"):
        found += judge_all(range(4), worker_processes(2))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_campaign(how: signal.Signals, tmp_path: Path) -> None:
    """Each process has the other end of the pipe, and inherits no lock."""
    path = tmp_path / "record"
    arguments = ["hunt", "--seeds", "1000000", "--jobs", "2", "--record", str(path)]
    with subprocess.Popen([sys.executable, "-m", "peer.cli", *arguments], stdout=subprocess.PIPE) as process:
        pause = threading.Event()
        while process.poll() is None and not (path.exists() and len(path.read_bytes().splitlines()) > 2):
            pause.wait(0.1)
        process.send_signal(how)
        try:
            process.communicate(timeout=30)
        finally:
            process.kill()  # where it ignores SIGINT, as what a shell has started in the background does
    assert process.returncode == (130 if how is signal.SIGINT else -how)
    with contextlib.closing(Record(path, resume=True)) as again:
        assert len(again.verdicts) >= 2


# ---- the record


def written(path: Path) -> None:
    with contextlib.closing(Record(path, resume=False)) as first:
        for verdict in VERDICTS:
            first.add(verdict)


def read(path: Path) -> list[Verdict]:
    with contextlib.closing(Record(path, resume=True)) as again:
        return list(again.verdicts.values())


def test_a_campaign_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "record"
    written(path)
    whole = path.read_bytes()
    for length in range(len(whole)):  # killed while it wrote
        path.write_bytes(whole[:length])
        assert read(path) == VERDICTS[: max(0, whole[:length].count(b"\n") - 1)]
    assert path.read_bytes() == whole[: whole[:-1].rindex(b"\n") + 1]
    with contextlib.closing(Record(path, resume=True)) as again:
        again.add(VERDICTS[-1])
    assert read(path) == VERDICTS
    assert path.read_bytes() == whole
    assert Record(None, resume=False).verdicts == {}


def test_a_record_is_written_over_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_text("precious")
    with pytest.raises(HyperpushError, match="give --resume to go on, or another file"):
        Record(path, resume=False)
    with pytest.raises(HyperpushError, match="is no record of a hunt; give another file"):
        Record(path, resume=True)
    assert path.read_text() == "precious"
    path.write_text("")
    written(path)
    assert read(path) == VERDICTS
    with (
        contextlib.closing(Record(path, resume=True)),
        pytest.raises(HyperpushError, match="is being written by another process"),
    ):
        Record(path, resume=True)
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(HyperpushError, match="cannot be written"):
        Record(tmp_path, resume=True)


def test_a_world_counts_once_and_lines_may_end_as_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "record"
    written(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with contextlib.closing(Record(path, resume=True)) as again:
        assert list(again.verdicts.values()) == VERDICTS
        again.add(VERDICTS[1])
    assert read(path) == VERDICTS
    with contextlib.closing(Record(path, resume=True)) as again:
        again.add(replace(VERDICTS[1], digest="another"))
    assert [verdict.checker for verdict in read(path)] == ["", "determinism", ""]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{}", "has no verdict in line 2; give another file"),
        (b"[1]", "has no verdict in line 2; give another file"),
        (b"[" * 100_000, "has no verdict in line 2; give another file"),
        (b"\xff", "is not text; give another file"),
        *(
            (
                json.dumps({**json.loads(record.line_of(VERDICTS[0])), **wrong}).encode(),
                "has no verdict in line 2; give another file",
            )
            for wrong in (
                {"seed": "1"},
                {"seed": -1},
                {"seed": True},
                {"digest": None},
                {"violation": 3},
                {"settled_s": "soon"},
                {"settled_s": float("nan")},
                {"at_s": None},
                {"marks": None},
                {"marks": {"a": "b"}},
                {"more": 1},
            )
        ),
    ],
    ids=range(15),
)
def test_what_is_no_verdict_is_refused_in_one_line(line: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(record.header(code("peer.hunt.campaign")).encode() + line + b"\n")
    with pytest.raises(HyperpushError, match=told) as raised:
        Record(path, resume=True)
    assert str(raised.value).startswith("record: ")


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (record.header("0.0 elsewhere"), "was judged by other code .0.0 elsewhere, this is "),
        (json.dumps({"record": record.NAME, "format": 2}) + "\n", "has format 2, not 1"),
        (record.line_of(VERDICTS[0]), "is no record of a hunt"),
        ("[]\n", "is no record of a hunt"),
        ("hello\n", "is no record of a hunt"),
    ],
    ids=["other code", "other format", "no first line", "a list", "words"],
)
def test_verdicts_of_other_code_are_not_gone_on_with(first: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_text(first)
    with pytest.raises(HyperpushError, match=told):
        Record(path, resume=True)
    assert path.read_text() == first
