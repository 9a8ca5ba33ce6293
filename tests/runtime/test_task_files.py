"""Tasks that people bring: files of Python, read at start, with clear words about what is wrong with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from peer.cli import main
from peer.errors import SettingError
from peer.outcome import Kind
from peer.settings import AgentSettings
from peer.tasks import Answer, make_task

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = """
from __future__ import annotations

from dataclasses import dataclass

import torch
from shapes import FEATURES
from torch import nn

import peer

settings = {"model_step_size": 0.1, "hyper_step_size": 0.05, "fanout": 2}


@dataclass
class Samples:
    inputs: torch.Tensor
    targets: torch.Tensor

    def part(self, begin, end):
        return self.inputs[begin:end], self.targets[begin:end]


def problem(shard, agents, seed, personalization):
    assert shard < agents
    generator = torch.Generator().manual_seed(100 * seed + shard)
    inputs = torch.randn(60, FEATURES, generator=generator)
    samples = Samples(inputs, (inputs[:, 0] > 0).long())
    module = nn.Linear(FEATURES, 2)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    parts = (samples.part(0, 10), samples.part(10, 30), samples.part(30, 60))
    return peer.ModuleProblem(module, *parts, personalization=personalization)
"""

LOSSES = '''
import torch


class Own:
    """A local variable beside the shared one; no test samples."""

    def __init__(self, shard):
        self.shard = float(shard)
        self.model = {"x": torch.zeros(2)}
        self.hyperparameters = {"h": torch.zeros(())}
        self.local = {"z": torch.zeros(2)}

    def inner_loss(self, model, hyperparameters, batch, local):
        return (model["x"] + local["z"] - self.shard).square().sum() + 0.1 * local["z"].square().sum()

    def outer_loss(self, model, hyperparameters, batch, local):
        return (model["x"] + local["z"] + hyperparameters["h"] - self.shard - 1).square().mean() + batch

    def batches(self):
        number = 0
        while True:
            yield float(number)
            number += 1


def problem(shard, agents, seed, personalization):
    return Own(shard)
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "shapes.py").write_text("FEATURES = 3\n")
    (tmp_path / "task.py").write_text(CLASSES)
    return tmp_path / "task.py"


def test_a_swarm_learns_it_and_is_compared_with_training_alone(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "found.json"
    arguments = ["--task", str(file), "--agents", "3", "--ticks", "60", "--json", str(written)]
    assert main(["simulate", *arguments]) == 0
    assert "of 3 agents are better off than alone" in capsys.readouterr().out
    found = json.loads(written.read_text())
    assert found["config"]["task"] == str(file)
    assert found["config"]["settings"]["fanout"] == 2
    assert found["summary"]["personal"]["mean"] > 0.8
    assert set(found["agents"][0]["accuracy"]) == {"local", "local_all", "shared", "personal"}


def test_what_has_no_test_samples_is_told_by_its_losses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.py"
    file.write_text(LOSSES)
    arguments = ["--task", str(file), "--agents", "3", "--fanout", "2", "--ticks", "200", "--drop", "0"]
    assert main(["simulate", *arguments, "--hyper-step-size", "0.05"]) == 0
    printed = capsys.readouterr().out
    assert "validation loss" in printed
    assert "3 of 3 agents have a lower validation loss than before." in printed
    assert main(["simulate", *arguments, "--until", "accuracy:0.9"]) == 2
    assert "measures no accuracy" in capsys.readouterr().err


def test_losses_are_of_the_same_batches_before_and_after(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(LOSSES)
    task = make_task(file, 2, 0, "none")
    assert task.kind is Kind.LOSS
    x, h, z = torch.tensor([2.0, 2.0]), torch.tensor(1.0), torch.tensor([-1.0, -1.0])
    answer = Answer({"x": x}, {}, {}, {"h": h}, {"z": z})
    for _ in range(2):
        scores = task.scores(1, answer, AgentSettings(), 10)
        assert scores == {"initial": pytest.approx(4.0 + 15.5), "learned": pytest.approx(0.0 + 15.5)}


def test_only_the_problem_of_this_machine_is_made(tmp_path: Path) -> None:
    """The others' data are not here."""
    file = tmp_path / "own.py"
    file.write_text(LOSSES.replace("    return Own(shard)", "    assert shard == 2\n    return Own(shard)"))
    task = make_task(file, 4, 0, "none", shard=2)
    assert len(task.problems) == 4
    assert task.problems[2] is task.problems[-2]
    with pytest.raises(SettingError, match=r"problem\(0, ...\) fails in line \d+: AssertionError"):
        task.problems[0]
    with pytest.raises(SettingError, match=r"problem\(0, ...\) fails"):
        make_task(file, 4, 0, "none")


def test_agents_fit_if_their_files_are_equal(file: Path, tmp_path: Path) -> None:
    same = tmp_path / "same.py"
    same.write_text(CLASSES)
    other = tmp_path / "other.py"
    other.write_text(CLASSES.replace("> 0", "> 1"))
    first, second, third = (make_task(one, 4, 0, "bias").fingerprint for one in (file, same, other))
    assert first == second != third
    assert make_task(file, 5, 0, "bias").fingerprint != first != make_task(file, 4, 1, "bias").fingerprint


def test_a_trace_executes_no_file_but_the_one_that_is_given(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--task", str(file), "--agents", "2", "--ticks", "10"]
    assert main(["simulate", *arguments, "--trace", str(tmp_path / "traces")]) == 0
    trace = next((tmp_path / "traces").glob("agent-0*"))
    assert main(["replay", str(trace), "--task", str(file)]) == 0
    assert "gave the same effects" in capsys.readouterr().out
    assert main(["replay", str(trace)]) == 2
    assert "which is code: say --task FILE to execute yours" in capsys.readouterr().err
    file.write_text(CLASSES + "\n")
    assert main(["replay", str(trace), "--task", str(file)]) == 2
    assert "the one here is file " in capsys.readouterr().err
    assert main(["simulate", "--agents", "2", "--ticks", "5", "--trace", str(tmp_path / "digits")]) == 0
    trace = next((tmp_path / "digits").glob("agent-0*"))
    capsys.readouterr()
    assert main(["replay", str(trace), "--task", str(file)]) == 2
    assert "its task is digits, which is built in: leave out --task" in capsys.readouterr().err
    hunted = tmp_path / "hunted"
    assert main(["hunt", "--seeds", "1", "--from-seed", "3", "--trace", str(hunted)]) == 0
    capsys.readouterr()
    assert main(["replay", str(next(hunted.iterdir())), "--task", str(file)]) == 2
    assert "its task is of the hunt: leave out --task" in capsys.readouterr().err


def test_a_path_in_a_configuration_is_meant_from_its_folder(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('task = "task.py"\n')
    assert main(["config", "--config", str(config)]) == 0
    printed = capsys.readouterr().out
    assert str(file) in printed
    (fanout,) = (line for line in printed.splitlines() if line.startswith("settings.fanout"))
    assert fanout.endswith(f"task {file}")
    assert main(["config", "--task", str(file), "--toml"]) == 0
    assert f'task = "{file}"' in capsys.readouterr().out


NO_PROBLEM = "def problem(*arguments): ...\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("x = 1", "define problem(shard, agents, seed, personalization) in it"),
        ("import not_there", "it fails in line 1: ModuleNotFoundError: No module named 'not_there'"),
        ("\n\ndef problem(", "it fails in line 3: SyntaxError: '(' was never closed"),
        ("import sys\nsys.exit(3)", "it fails in line 2: SystemExit: 3"),
        ("x = 1\0", "it fails: "),
        (NO_PROBLEM, "problem(0, ...) returned NoneType, which lacks model, hyperparameters, inner_loss"),
        (
            "def problem(shard): ...",
            "problem(0, ...) fails: TypeError: problem() takes 1 positional",
        ),
        (NO_PROBLEM + "settings = 3", "settings is int; give a dict"),
        (NO_PROBLEM + "settings = {'tick_s': 1}", "settings has tick_s, which is not for a task to say"),
        (NO_PROBLEM + "settings = {'foo': 1}", "settings: there is no such keyword argument 'foo'"),
        (NO_PROBLEM + "settings = {'fanout': 0}", "settings: fanout: 0 is not possible; give"),
        (
            "import peer\ndef problem(*a):\n    raise peer.ProblemError('train has 0 inputs')",
            "problem(0, ...) fails in line 3: train has 0 inputs",
        ),
        ("#" * (2**20 + 1), "it is larger than 1048576 bytes"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    content: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "task.py"
    file.write_text(content)
    assert main(["swarm", "--task", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"hyperpush swarm: --task: '{file}' is not possible; ")
    assert told in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not captured.out


@pytest.mark.parametrize(
    ("name", "told"), [("nowhere.py", "No such file or directory"), ("./", "Is a directory")]
)
def test_what_is_no_file_is_refused(name: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm", "--task", name]) == 2
    assert f"it cannot be read: {told}; give a file of Python" in capsys.readouterr().err


def test_all_are_scored_alike(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the table at the end would have holes."""
    file.write_text(CLASSES.replace("*parts, p", "*parts[: 2 if shard == 1 else 3], p"))
    assert main(["swarm", "--task", str(file), "--agents", "3"]) == 2
    told = "problem(1, ...) has no test samples of classes, another has some: give them to all, or to nobody"
    assert told in capsys.readouterr().err
    with pytest.raises(
        SettingError, match=r"problem\(0, ...\) has some test samples of classes, another has none"
    ):
        make_task(file, 3, 0, "none", shard=1).problems[0]


def test_equal_models_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        LOSSES.replace("torch.zeros(2)}\n        self.hyper", "torch.zeros(2 + shard)}\n        self.hyper")
    )
    made: Any = make_task(file, 2, 0, "none").problems
    assert [len(problem.model["x"]) for problem in made[0:2]] == [2, 3]
    assert main(["swarm", "--task", str(file), "--agents", "2"]) == 2
    assert "give all the same names, shapes and dtypes" in capsys.readouterr().err
