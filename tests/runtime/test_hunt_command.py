"""`hyperpush hunt` as people use it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import pytest

from peer.cli import main
from peer.inbox import Inbox
from tests.hunt.test_hunt import any_order

if TYPE_CHECKING:
    from pathlib import Path


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
        assert len(list(lines)) == 3


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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--story"], "--seeds: 100 is not possible; --story, --trace, --without are about one: --seeds 1"),
        (["--seeds", "1", "--without", "99"], "--without: 99 is not possible; seed 0 has "),
        (["--resume"], "--resume: 'true' is not possible; give the --record to go on with"),
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
