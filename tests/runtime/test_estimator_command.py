"""`hyperpush simulate --estimator NAME`: other estimators in common rounds, which only it can have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from peer.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]

SMALL = ("--agents", "3", "--ticks", "20", "--fanout", "2")


def test_a_swarm_in_common_rounds_has_the_same_table(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "found.json"
    chosen = ("--estimator", "neumann:2:3", "--schedule", "rounds:10", "--drop", "0.4")
    assert main(["simulate", *SMALL, *chosen, "--json", str(file)]) == 0
    told = capsys.readouterr().out
    found: Any = json.loads(file.read_text())
    assert (found["messages"], found["exchanges"]) == (found["messages"], 20 + 2 * 2 * 3)
    assert f"{found['messages']:,} messages" in told
    assert "shared + personal" in told
    assert (found["config"]["estimator"], found["config"]["schedule"]) == ("neumann:2:3", "rounds:10")
    assert found["config"]["faults"]["drop"] == 0.4
    scores = [agent["accuracy"] for agent in found["agents"]]
    assert all(one["personal"] > 0.3 for one in scores)
    assert f"digest of all models and hyperparameters {found['digest']}" in told
    assert main(["simulate", *SMALL, *chosen]) == 0
    again = capsys.readouterr().out
    assert found["digest"] in again, "equal seeds, equal bytes"
    assert main(["simulate", *SMALL, *chosen, "--seed", "1"]) == 0
    assert found["digest"] not in capsys.readouterr().out
    assert [line for line in again.splitlines() if "messages" in line] == [
        line for line in told.splitlines() if "messages" in line
    ], "equal seeds, equal rounds"


def test_hyperparameters_that_a_task_holds_stay_held(tmp_path: Path, capsys: Capture) -> None:
    chosen = ("--task", "synthetic", "--estimator", "direct", "--model-step-size", "0.05")
    assert main(["simulate", *SMALL, *chosen, "--json", str(tmp_path / "found.json")]) == 0
    found: Any = json.loads((tmp_path / "found.json").read_text())
    assert all(agent["error"]["hyperparameters"] == 0.0 for agent in found["agents"])
    assert "step 0.05, of hyperparameters 0" in capsys.readouterr().out


@pytest.mark.parametrize("links", ["known", "silent"])
def test_metrics_over_time_are_kept(links: str, tmp_path: Path, capsys: Capture) -> None:
    """A round counts as a tick: one line for each agent and second of them."""
    out = tmp_path / "run"
    chosen = ("--estimator", "direct", "--ticks", "80", "--drop", "0.5", "--links", links, "--out", str(out))
    assert main(["simulate", "--agents", "3", *chosen]) == 0
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines[:3]] == ["agent-0", "agent-1", "agent-2"]
    first, last = lines[0], lines[-1]
    assert (first["at_s"], first["tick"]) == (0.05, 1)
    assert len(lines) == 3 * 4
    assert last["tick"] == round(last["at_s"] / 0.05)
    if links == "known":  # else weights drain, and it learns nothing
        assert last["training_loss"] < first["training_loss"]
        assert last["validation_loss"] < first["validation_loss"]
        assert last["hypergradient_norm"] > 0
        assert last["personal"] > 0.5
    assert (last["residual"], first["personal"]) == (None, None), "not measured"
    counts = last["messages"]
    assert counts["bytes_sent"] > 0 < counts["received"]
    assert (counts["gaps"] > 0) == (counts["lost_by_faults"] > 0) == (links == "silent")
    capsys.readouterr()
    assert main(["report", str(out)]) == 0
    told = capsys.readouterr().out
    assert "figures of 1 run" in told
    assert "no curves" not in told


@pytest.mark.parametrize(
    ("command", "arguments", "problem"),
    [
        (
            "run",
            ["--estimator", "neumann"],
            "need common rounds, which no real network has: hyperpush",
        ),
        (
            "swarm",
            ["--schedule", "rounds"],
            "need common rounds, which no real network has: hyperpush",
        ),
        ("simulate", ["--estimator", "x"], "--estimator: 'x' is not possible; give one of tracking, neumann"),
        ("simulate", ["--links", "silent"], "--links: 'silent' is not possible; agents never know"),
        ("simulate", ["--links", "x"], "--links: 'x' is not possible; give known or silent"),
        ("simulate", ["--estimator", "direct", "--delay", "3ms"], "have no such thing; leave it out"),
        ("simulate", ["--estimator", "direct", "--personalization", "head"], "local inner variables"),
        (
            "simulate",
            ["--estimator", "direct", "--until", "residual:1e-3", "--until", "time:2s"],
            "--until: 'residual:0.001 time:2.0s' is not possible; common rounds of --estimator direct have",
        ),
        (
            "simulate",
            ["--estimator", "direct", "--personalization", "lora:2"],
            "common rounds have no adjoint: leave --estimator out, or give one without, such as none, bias",
        ),
        ("simulate", ["--estimator", "direct", "--agents", "1"], "give 2 or more"),
        ("simulate", ["--estimator", "direct", "--drop", "1"], "give the lowest and the highest rate"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    command: str, arguments: list[str], problem: str, capsys: Capture
) -> None:
    try:
        code = main([command, *arguments])
    except SystemExit as end:
        code = int(str(end.code))
    assert code == 2
    printed = capsys.readouterr().err
    assert problem in printed
    assert printed.count("\n") == 1
