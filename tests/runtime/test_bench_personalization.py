"""`hyperpush bench personalization` and `bench tuning` as commands: tables, files, going on, refusals."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from peer.bench import minibatches, personalization, seeds, tuning
from peer.bench.personalization_runs import Moment, Run, Score
from peer.bench.tuning_runs import MOMENTA, STEPS, Grid, Outcome
from peer.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

QUICK = ["bench", "personalization", "--quick", "--task", "digits", "--agents", "3", "--steps", "6"]


def one_after_the_other(
    function: Callable[[object], object], items: Iterable[object], jobs: int
) -> Iterator[tuple[object, object]]:
    for item in items:
        yield item, function(item)


def quickly(one: Run) -> Score:
    """What a run would tell, without one: the commands are what is looked at."""
    mean = 0.5 + len(one.method) / 100 + one.setting / 1000
    moment = Moment((mean,) * one.scale.agents, (mean,) * one.scale.agents)
    return Score(moment, None, 1000, 10, 0.5)


def interrupted(one: Run) -> Score:
    if one.method == "FedEM":
        raise KeyboardInterrupt
    return quickly(one)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personalization, "as_done", one_after_the_other)
    monkeypatch.setattr(seeds, "as_done", one_after_the_other)


def test_one_network_is_really_measured_in_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All methods and settings, agents of ours among them."""
    found = tmp_path / "rows.csv"
    assert main([*QUICK, "--networks", "silent", "--csv", str(found)]) == 0
    told = capsys.readouterr().out
    assert "networks: silent (30 % lost" in told
    assert "against the best other" in told
    rows = list(csv.DictReader(found.read_text().splitlines()))
    assert {row["network"] for row in rows} == {"silent"}
    assert len(rows) == 13
    assert all(0 <= float(row["mean"]) <= 100 for row in rows)


def test_files_are_written_and_a_record_is_gone_on_with(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    in_this_process: None,
) -> None:
    monkeypatch.setattr(personalization, "perform", interrupted)
    record = ["--record", str(tmp_path / "record")]
    assert main([*QUICK, *record]) == 130
    told = capsys.readouterr().out
    assert "interrupted; --record FILE --resume goes on. Methods of which" in told
    assert "Ditto" in told
    assert "FedEM" not in told
    runs: list[Run] = []

    def counted(one: Run) -> Score:
        runs.append(one)
        return quickly(one)

    monkeypatch.setattr(personalization, "perform", counted)
    files = {name: tmp_path / f"table.{name}" for name in ("json", "markdown", "csv", "figure")}
    files["figure"] = tmp_path / "table.svg"
    flags = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    assert main([*QUICK, *record, "--resume", *flags]) == 0
    assert "Ditto" not in {one.method for one in runs}
    assert "FedEM" in {one.method for one in runs}
    assert len(json.loads(files["json"].read_text())["rows"]) == 26
    assert "### networks: directed" in files["markdown"].read_text()
    assert "<svg" in files["figure"].read_text()
    assert main([*QUICK, *record]) == 2
    assert "is there already; give --resume" in capsys.readouterr().err
    (tmp_path / "record").write_text(
        '{"record": "hyperpush bench personalization", "format": 1}\n'
        + json.dumps({"key": runs[0].key, "code": "other", "result": {"before": 3}})
        + "\n"
    )
    assert main([*QUICK, *record, "--resume"]) == 2
    assert "has a score with other fields" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--networks", "full,loud"], "networks: 'loud'"),
        (["--device", "tricorder"], "device: 'tricorder'"),
        (["--figure", "table.txt"], "give a file that ends in"),
        (["--csv", "/nowhere/table.csv"], "csv: '/nowhere/table.csv'"),
        (["--resume"], "give the --record to go on with"),
        (["--agents", "1000"], "agents: 1000"),
        (["--task", "fedem-synthetic"], "leaves nothing to share"),
        (["--task", "mnist", "--data-dir", "/nowhere"], "data-dir: '/nowhere'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(
    given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, *given]) == 2
    assert told in capsys.readouterr().err


def test_the_whole_table_has_three_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_this_process: None
) -> None:
    monkeypatch.setattr(personalization, "perform", quickly)
    assert main(["bench", "personalization", "--task", "digits", "--agents", "4", "--large", "6"]) == 0
    told = capsys.readouterr().out
    for part in ("networks: full", "many agents: silent", "groups: directed"):
        assert part in told


def world(seed: int) -> Outcome:
    settings = [(step, momentum) for step in STEPS for momentum in MOMENTA]
    grid = Grid(
        tuple(step for step, _ in settings),
        tuple(momentum for _, momentum in settings),
        (100.0,) + (float("nan"),) * (len(settings) - 1),
    )
    return Outcome(seed, "a world", grid, 0, 120.0, tuned_diverged=False, tuned="steps")


def known(seed: int) -> dict[str, Any]:
    return asdict(world(seed))


def test_tuning_prints_what_it_has_and_goes_on(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    in_this_process: None,
) -> None:
    def at_last(seed: int) -> dict[str, Any]:
        if seed == 1002:
            raise KeyboardInterrupt
        return known(seed)

    monkeypatch.setattr(tuning, "measure", at_last)
    command = ["bench", "tuning", "--seeds", "3", "--record", str(tmp_path / "record")]
    assert main(command) == 130
    told = capsys.readouterr().out
    assert "2 random networks and tasks, seeds from 1000" in told
    monkeypatch.setattr(tuning, "measure", known)
    assert main([*command, "--resume"]) == 0
    assert "3 random networks and tasks" in capsys.readouterr().out
    lines = (tmp_path / "record").read_text().splitlines()
    broken = json.loads(lines[1])
    broken["result"].pop("grid")
    (tmp_path / "record").write_text("\n".join([lines[0], json.dumps(broken)]) + "\n")
    assert main([*command, "--resume"]) == 2
    assert "has a world with other fields" in capsys.readouterr().err


def test_minibatches_have_a_table_of_their_own_and_go_on_as_well(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    in_this_process: None,
) -> None:
    def task(seed: int) -> dict[str, Any]:
        ran = minibatches.Run(2.0, 0.5, 2.5, 30.0, 0, 2.0, 1.0)
        grid = (1.0, 0.4, *(math.inf for _ in minibatches.SETTINGS[2:]))
        return asdict(minibatches.Outcome(seed, "a task", ran, grid, "steps"))

    monkeypatch.setattr(minibatches, "measure", task)
    written = tmp_path / "table.json"
    command = ["bench", "tuning", "--minibatches", "--seeds", "2", "--record", str(tmp_path / "record")]
    assert main(command) == 0
    assert main([*command, "--resume", "--seeds", "3", "--json", str(written)]) == 0
    told = capsys.readouterr().out
    assert "3 random networks and tasks with minibatches, seeds from 1000" in told
    assert "1.24: task 1000, a task; steps" in told
    assert len(json.loads(written.read_text())["tasks"]) == 3
    assert main(["bench", "tuning", "--record", str(tmp_path / "record"), "--resume"]) == 2
    assert "is no record of hyperpush bench tuning" in capsys.readouterr().err
