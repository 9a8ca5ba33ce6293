"""`hyperpush hunt` as people use it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import pytest

from peer.cli import main
from peer.hunt.campaign import WorkerEndedError
from peer.hunt.trial import OnlookerError
from peer.hunt.world import draw
from peer.inbox import Inbox
from tests.hunt.test_hunt import any_order

if TYPE_CHECKING:
    from pathlib import Path

PARTED = 37  # a seed


def test_worlds_are_counted_and_a_record_is_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = str(tmp_path / "record")
    for seeds, resume in (("2", []), ("3", ["--resume"])):
        assert (
            main(["hunt", "--seeds", seeds, "--from-seed", "8", "--jobs", "1", "--record", record, *resume])
            == 0
        )
        told = " ".join(capsys.readouterr().out.split())
        assert f"{seeds} worlds, " in told
        assert " 0 violations, " in told
        assert "never reached: " in told
    with open(record) as lines:
        assert len(list(lines)) == 1 + 3


def test_a_violation_is_shown_short_and_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.object(Inbox, "put", any_order):
        assert main(["hunt", "--seeds", "2", "--from-seed", "1", "--jobs", "1"]) == 1
        told = capsys.readouterr().out
        assert "seed 1: stale: " in told
        assert "again: hyperpush hunt --from-seed 1 --seeds 1 --story" in told
        assert main(["hunt", "--seeds", "1", "--from-seed", "1", "--story"]) == 1
        assert "stale: " in capsys.readouterr().out


def test_one_world_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hunt", "--seeds", "1", "--from-seed", "12", "--story"]) == 0
    story = capsys.readouterr().out
    assert "EpochEntered(epoch=1, reason=" in story
    assert "nothing wrong: every agent had the answer" in story
    assert main(["hunt", "--seeds", "1", "--from-seed", "12", "--without", "0"]) == 0
    assert "digest " in capsys.readouterr().out


def test_no_answer_is_claimed_where_none_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Both were told to have been there after 0 s."""
    world = draw(PARTED)
    assert any(trouble.kind == "cut for ever" for trouble in world.troubles)
    parted = "links that are cut for ever part the agents"
    assert main(["hunt", "--seeds", "1", "--from-seed", str(PARTED), "--story"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"nothing wrong: {parted}, so no answer was asked for" in told
    assert "had the answer" not in told
    assert main(["hunt", "--seeds", "1", "--from-seed", str(PARTED), "--jobs", "1"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"1 had not: {parted}" in told
    assert "had to find the answer" not in told


def test_a_process_that_was_killed_ends_the_hunt_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peer.commands.hunt.judge_all", mock.Mock(side_effect=WorkerEndedError("killed")))
    assert main(["hunt"]) == 1
    assert capsys.readouterr().err == "hyperpush hunt: killed\n"


def test_a_story_that_nobody_reads_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch("peer.commands.hunt.Trial.run", side_effect=broken_pipe):
        assert main(["hunt", "--seeds", "1", "--story"]) == 1
    assert capsys.readouterr().err == "hyperpush hunt: nobody reads\n"


def broken_pipe() -> None:
    raise OnlookerError from BrokenPipeError("nobody reads")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        *(
            (["--seeds", "1", *one, *other], f"{other[0]}: {value} is not possible; --story, --trace, --with")
            for one in (["--story"], ["--without", "0"], ["--trace", "/nowhere"])
            for other, value in ((["--record", "x"], "'x'"), (["--resume"], "'true'"))
        ),
        (
            ["--trace-agent", "agent-0"],
            "--trace-agent: 'agent-0' is not possible; give --trace FOLDER",
        ),
        (["--story"], "--seeds: 100 is not possible; --story, --trace, --without are about one: --seeds 1"),
        (
            ["--seeds", "1", "--without", "99"],
            "--without: 99 is not possible; seed 0 has 6 troubles; give numbers from 0",
        ),
        (["--resume"], "--resume needs --record FILE"),
        (["--without", "a"], "--without: "),
        (["--without", "-1"], "--without: "),
        (["--seeds", "0"], "--seeds: "),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hunt", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
