"""`hyperpush report`: what it writes of a run, and what it says of a folder that holds none."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from peer.cli import main
from peer.options import complete, split
from peer.report import reading
from peer.report.reading import read_run
from tests import report_runs as made

if TYPE_CHECKING:
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]


def test_a_simulated_run_is_told(tmp_path: Path, capsys: Capture) -> None:
    """From its options to the page: with its links, hyperparameters, faults, command and digest."""
    scenario = tmp_path / "cut.toml"
    scenario.write_text('[[event]]\nat = "1s"\ncut = ["agent-0", "agent-1"]\nfor = "1s"\n')
    out, html, markdown = tmp_path / "out", tmp_path / "page.html", tmp_path / "page.md"
    options = ["--agents", "3", "--ticks", "70", "--personalization", "bias+class-weights"]
    assert main(["simulate", *options, "--scenario", str(scenario), "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["report", str(out), "--html", str(html), "--markdown", str(markdown)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{html}: "), "nothing is wrong with it"
    run = read_run(out, "out")
    assert run.agents == ("agent-0", "agent-1", "agent-2")
    assert len(run.moments) >= 3
    assert {link.state for link in run.links.links} <= {"both", "signs", "one-way", "deaf", "idle"}
    assert len(run.links.links) == 6
    assert run.hypers.entries["bias"] == tuple("0123456789")
    assert set(run.hypers.last["agent-1"]) == {"bias", "class-weights.score"}
    result = json.loads((out / "result.json").read_text())
    told = markdown.read_text(encoding="utf-8")
    assert result["digest"] in told
    assert "agent-0 → agent-1" in told
    assert (
        f"    hyperpush simulate --agents 3 --personalization bias+class-weights --scenario {scenario}"
        in told
    )
    words = json.loads((out / "config.json").read_text())["arguments"]
    again = complete(split(words), {})
    assert (again.agents, again.ticks, again.scenario) == (3, 70, scenario)
    page = html.read_text(encoding="utf-8")
    assert len(page) > 4_000_000, "plotly.js is inside"
    for heading in ("Losses", "Who hears whom", "Hyperparameter bias", "Faults and events", "Do it again"):
        assert f">{heading}</h" in page


def test_several_runs_are_compared_beside_their_default_file(tmp_path: Path, capsys: Capture) -> None:
    first, second = made.write(tmp_path / "first"), made.write(tmp_path / "second", ("x", "y"))
    assert main(["report", str(first)]) == 0
    of_one = (first / "report.html").read_text(encoding="utf-8")
    assert main(["report", str(first), str(second)]) == 0
    assert f"{first / 'comparison.html'}: " in capsys.readouterr().out
    assert (first / "report.html").read_text(encoding="utf-8") == of_one, "the page of one run is left alone"
    page = (first / "comparison.html").read_text(encoding="utf-8")
    assert "2 runs beside each other" in page
    assert "Who hears whom: second" in page


def test_an_interrupted_run_is_told_as_far_as_it_went(tmp_path: Path, capsys: Capture) -> None:
    folder = made.write(tmp_path / "run")
    (folder / "result.json").unlink()
    metrics = folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text()[:-40])
    os.remove(folder / "links.jsonl")
    os.mkfifo(folder / "links.jsonl")
    assert main(["report", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "There are no results" in printed
    assert "metrics.jsonl: 1 line is damaged" in printed
    assert "links.jsonl is missing" in printed, "a pipe would wait for somebody who writes"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "There are no results" in page
    assert "Losses" in page


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "config.json is missing"),
        (b"", "config.json is damaged: there is no object of JSON in it"),
        (b"[1, 2]", "config.json is damaged"),
        (b"\x00\xff", "config.json is damaged"),
    ],
)
def test_a_folder_of_something_else_is_refused(
    content: bytes | None, told: str, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if content is not None:
        (folder / "config.json").write_bytes(content)
    assert main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "give what --out of swarm, run or simulate was given" in error
    assert error.count("\n") == 1


def test_what_cannot_be_read_or_written_is_told(tmp_path: Path, capsys: Capture) -> None:
    folder = made.write(tmp_path / "run")
    for arguments, told in (
        ([str(tmp_path / "none")], "it is no folder"),
        ([str(folder), "--html", str(tmp_path / "no" / "page.html")], "--html: '"),
        ([str(folder)] * 9, "give at most 8"),
    ):
        assert main(["report", *arguments]) == 2
        assert told in capsys.readouterr().err


def test_long_files_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made.write(tmp_path / "run")
    rows = made.as_lines(made.metrics(times=3000))
    (folder / "metrics.jsonl").write_text("\n".join([*rows[:4000], "x" * 5000, *rows[4000:]]) + "\n")
    monkeypatch.setattr(reading, "LINES_BYTES_MAX", 64 * 1024)
    monkeypatch.setattr(reading, "PIECE_BYTES", 64 * 1024 // reading.PIECES * 4)
    monkeypatch.setattr(reading, "PIECES", reading.PIECES // 4)
    monkeypatch.setattr(reading, "LINE_BYTES_MAX", 2000)
    run = read_run(folder, "run")
    times = [moment.at_s for moment in run.moments]
    assert times == sorted(times)
    assert times[0] < 50
    assert times[-1] == 2999
    assert any("evenly spread" in remark for remark in run.remarks)
    assert not any("Time began anew" in remark for remark in run.remarks)
    monkeypatch.setattr(reading, "OBJECT_BYTES_MAX", 10)
    shutil.copy(folder / "metrics.jsonl", folder / "result.json")
    with pytest.raises(Exception, match=r"config.json is larger than 10 bytes"):
        read_run(folder, "run")
