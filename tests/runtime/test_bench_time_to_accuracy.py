"""`hyperpush bench time-to-accuracy`: a swarm is started, learns, and nobody waits for more than that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from peer.bench import time_to_accuracy
from peer.bench.time_to_accuracy import Run, verdict
from peer.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def test_a_swarm_is_timed_until_it_has_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "times.json"
    assert main(["bench", "time-to-accuracy", "--accuracy", "0.5", "--runs", "1", "--json", str(file)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "accuracy 0.50 after " in told
    (run,) = json.loads(file.read_text(encoding="utf-8"))["runs"]
    assert 0.0 < run["first_s"] < run["learned_s"]
    assert run["alone_s"] > 0.0


def test_what_is_not_reached_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time_to_accuracy, "LIMIT_S", 0.1)
    assert main(["bench", "time-to-accuracy", "--accuracy", "1", "--runs", "1"]) == 2
    assert "accuracy 1 was not reached within 0.1 s; give a lower one" in capsys.readouterr().err
    assert main(["bench", "time-to-accuracy", "--accuracy", "0"]) == 2
    assert "above 0, at most 1" in capsys.readouterr().err
    monkeypatch.setattr(time_to_accuracy.sys, "executable", "/bin/true")
    with pytest.raises(time_to_accuracy.HyperpushError, match="ended before it had learned: no word"):
        time_to_accuracy.learned_s(0.9)


def test_the_median_is_held_against_the_target() -> None:
    runs = [Run(2.0, 3.0, seconds) for seconds in (7.0, 9.0, 7.5)]
    assert verdict(runs, 0.9) == "accuracy 0.90 after 7.5 s in the median of 3 reaches the target of 8."
    assert verdict(runs[1:2], 0.9).endswith("misses the target of 8.")
    assert verdict(runs, 0.5) == "accuracy 0.50 after 7.5 s in the median of 3."
