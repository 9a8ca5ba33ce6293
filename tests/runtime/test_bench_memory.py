"""`hyperpush bench memory`: what is held is counted once, and as much as the method implies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from peer.bench import memory
from peer.bench.memory import FANOUT, IMPLIED, NARROW, SHARE_MAX, STREAMS, Row, verdict
from peer.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def test_an_agent_holds_what_the_method_implies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "RESIDENT_TICKS", 5)
    file = tmp_path / "memory.json"
    assert main(["bench", "memory", "--models", "small", "--json", str(file)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "small: 1.0" in told
    assert "a process with one agent of the digits task: " in told
    found = json.loads(file.read_text(encoding="utf-8"))
    (row,) = found["rows"]
    assert row["held"].keys() == {*IMPLIED, "others"}
    for purpose in ("streams", "neighbours", "messages"):
        assert row["held"][purpose] == IMPLIED[purpose] * row["parameters"]
    assert sum(row["held"].values()) <= SHARE_MAX * sum(IMPLIED.values()) * row["parameters"]
    assert 1e8 < found["resident_bytes"] < 1e9


def test_what_a_message_brings_is_counted_of_every_neighbour() -> None:
    assert IMPLIED["neighbours"] == FANOUT * STREAMS * NARROW
    assert IMPLIED["messages"] == 2 * IMPLIED["neighbours"], "an estimate comes with every sum"


def test_targets_are_missed_aloud() -> None:
    row = Row("small", 10, {**{purpose: 20 * implied for purpose, implied in IMPLIED.items()}, "others": 0})
    model, process = verdict([row], 400_000_000)
    assert "2.00 times what is implied misses the target of 1.15" in model
    assert "misses that of 20" in model
    assert "400 MB misses the target of 300" in process


def test_who_cannot_start_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "memory", "--models", "huge"]) == 2
    assert "models: 'huge' is not possible; give some of small," in capsys.readouterr().err
    monkeypatch.setattr(memory.sys, "executable", "/bin/false")
    with pytest.raises(memory.HyperpushError, match="an agent of its own ended with 1"):
        memory.resident_bytes()
