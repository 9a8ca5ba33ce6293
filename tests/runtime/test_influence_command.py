"""`hyperpush influence`: planted wrong labels are found, in a swarm and in what a real agent has kept."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from peer.cli import main
from tests.data_files import needs_fashion_mnist

if TYPE_CHECKING:
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]

AREA = 0.9  # at least: of digits with 50 validation samples an agent, and of 5 % of Fashion-MNIST
AGENTS = ("--agents", "6")  # 60 validation samples each


def told(capsys: Capture, *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["influence", *arguments]) == code
    output = capsys.readouterr()
    return output.out + output.err


def test_planted_wrong_labels_are_found(tmp_path: Path, capsys: Capture) -> None:
    file, figure = tmp_path / "found.json", tmp_path / "found.svg"
    results = ("--json", str(file), "--figure", str(figure))
    shown = told(capsys, *AGENTS, "--plant", "0.2", "--top", "4", *results)
    found: Any = json.loads(file.read_text())
    again = found["found_again"]
    assert again["area_under_curve"] >= AREA
    assert f"with probability {again['area_under_curve']:.3f}" in shown
    assert (again["agents"], len(found["agents"])) == (3, 6)
    first = found["agents"][0]
    wrong = {int(row): true for row, true in first["planted"].items()}
    assert (
        len(wrong)
        == round(0.2 * len(first["label"]))
        == sum(first["label"][row] != true for row, true in wrong.items())
    )
    assert not found["agents"][1]["planted"]
    assert len(re.findall(r"│ +[1-4] │ agent-", shown)) == 8, "four of either kind"
    assert "it is" in shown
    drawn = figure.read_text(encoding="utf-8")
    assert "planted wrong label" in drawn
    assert told(capsys, *AGENTS, "--plant", "0.2", "--top", "4", *results) == shown, "the same again"
    assert drawn == figure.read_text(encoding="utf-8")


@needs_fashion_mnist
@pytest.mark.slow
def test_planted_wrong_labels_are_found_in_fashion_mnist(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "found.json"
    chosen = ("--task", "fashion-mnist", "--agents", "20", "--samples", "3500", "--plant", "0.2")
    told(capsys, *chosen, "--json", str(file))
    assert json.loads(file.read_text())["found_again"]["area_under_curve"] >= AREA


def test_a_real_agent_is_looked_at_by_what_it_keeps(tmp_path: Path, capsys: Capture) -> None:
    folder, file = tmp_path / "state", tmp_path / "found.json"
    alone = ("--no-zeroconf", "--listen", "127.0.0.1:0", "--admin", "none", "--listen-s-max", "0.1")
    shard = ("--shard", "2/6", "--personalization", "head")
    assert main(["run", *alone, *shard, "--state", str(folder), "--ticks", "60", "--tick-ms", "5"]) == 0
    shown = told(
        capsys, *shard, "--state", str(folder), "--json", str(file), "--figure", str(tmp_path / "x.png")
    )
    assert "shard 2/6, checkpoint" in shown
    assert "ranked by the loss without it" in shown
    assert "of all 6 agents" in shown
    (agent,) = json.loads(file.read_text())["agents"]
    assert agent["rank_by"] == agent["harm"]
    assert any(agent["harm"])
    other = told(capsys, "--shard", "2/6", "--personalization", "bias", "--state", str(folder), code=2)
    assert "does not fit" in other
    assert "give the task, seed, shard, personalization and data that its agent was started with" in other


def test_inputs_that_are_no_images_have_only_a_curve(tmp_path: Path, capsys: Capture) -> None:
    figure = tmp_path / "found.svg"
    chosen = ("--task", "fedem-synthetic", "--agents", "2", "--ticks", "5")
    shown = told(capsys, *chosen, "--personalization", "none", "--figure", str(figure))
    assert shown.splitlines()[-1] == f"drawn: {figure}"
    assert "hurt most" not in figure.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["--task", "synthetic"],
            "--task: 'synthetic' is not possible; its problems are no peer.ModuleProblem",
        ),
        (["--shard", "1/8"], "--shard: '1/8' is not possible; it is for --state"),
        (["--state", "/nowhere"], "state: /nowhere is no directory"),
        (
            ["--state", ".", "--plant", "0.1"],
            "--plant: 0.1 is not possible; a real agent has learned already",
        ),
        (["--figure", "found.txt"], "--figure: 'found.txt' is not possible; give a file that ends in .png"),
        (
            ["--json", "/nowhere/x"],
            "--json: '/nowhere/x' is not possible; give a file in a folder that exists",
        ),
        (["--damping", "-1"], "damping"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments: list[str], problem: str, capsys: Capture) -> None:
    printed = told(capsys, *arguments, code=2)
    assert problem in printed
    assert printed.count("\n") == 1


def test_a_state_directory_without_a_checkpoint_is_refused(tmp_path: Path, capsys: Capture) -> None:
    printed = told(capsys, "--state", str(tmp_path), code=2)
    assert f"{tmp_path} has no whole checkpoint" in printed
