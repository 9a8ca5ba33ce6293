"""Parts of the user's that fail while a swarm learns: one line, with the part and the user's own line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from peer.cli import main
from peer.extensions import register
from peer.personalization.contract import OutputChange, Personalization
from tests.examples.extensions.averaging import Averaging
from tests.examples.extensions.own_hessian import OwnHessian

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]

ENOUGH = 20  # calls, after which learning has begun
SMALL = ("--agents", "2", "--ticks", "30")
COMMANDS = (("simulate", *SMALL), ("swarm", *SMALL, "--admin", "none"))


class Breaks(Personalization):
    """All is well until agents learn."""

    name = "breaks"

    def bind(self, ground: Any) -> Any:
        class Part(OutputChange):
            asked = 0

            def apply(self, outputs: Any, hyperparameters: Any) -> Any:
                self.asked += 1
                if self.asked > ENOUGH:
                    raise IndexError("Target 1 is out of bounds.\nand so on")
                return outputs + hyperparameters["breaks"]

        return Part({"breaks": ground.outputs.new_zeros(())})


class Narrow(Personalization):
    name = "narrow"

    def bind(self, ground: Any) -> Any:
        class Part(OutputChange):
            def apply(self, outputs: Any, hyperparameters: Any) -> Any:
                return outputs[:, :1] + hyperparameters["narrow"]

        return Part({"narrow": ground.outputs.new_zeros(())})


class WrongShape(OwnHessian):
    def update(self, state: Any, products: Any, network: Any) -> Any:
        return type(state)(super().update(state, products, network).rows[0])


class Odd(Averaging):
    """What it gives goes wrong elsewhere."""

    def direction(self) -> Any:
        return torch.zeros(1, 2, 3)


@pytest.fixture
def parts() -> Iterator[None]:
    with (
        register("personalization", "breaks", Breaks),
        register("personalization", "narrow", Narrow),
        register("estimator", "wrong-shape", WrongShape),
        register("solver", "odd", Odd),
    ):
        yield


def said(capsys: Capture) -> str:
    """The one line."""
    told = capsys.readouterr().err
    assert told.count("\n") == 1, told
    return told


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_the_part_and_the_line_are_named(command: Any, capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    assert main([*command, "--personalization", "breaks+bias", "--out", str(out)]) == 1
    told = said(capsys)
    assert told.startswith(
        f"hyperpush {command[0]}: --personalization breaks+bias fails: IndexError: Target 1"
    )
    assert "tests/runtime/test_faulty_parts.py:" in told
    assert ", in apply; the traceback is in" in told
    assert "Traceback (most recent call last)" in (out / "traceback.txt").read_text()


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_outputs_of_another_shape_are_refused_before_anything_runs(command: Any, capsys: Capture) -> None:
    assert main([*command, "--personalization", "narrow"]) == 2
    assert "narrow changes the shape of outputs from (" in said(capsys)


@pytest.mark.usefixtures("parts")
def test_of_estimators_and_solvers_that_is_said_too(capsys: Capture) -> None:
    assert main([*COMMANDS[0], "--estimator", "wrong-shape"]) == 2
    told = said(capsys)
    assert "adjoints have the shape (" in told
    assert "(--estimator wrong-shape: tests/examples/extensions/own_hessian.py:" in told
    assert main([*COMMANDS[0], "--solver", "odd"]) == 1
    told = said(capsys)
    assert told.startswith("hyperpush simulate: --solver odd fails: ")
    assert "--out DIR keeps the traceback" in told


def test_a_task_of_the_users_is_a_part_of_theirs(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "task.py"
    file.write_text(
        "import torch, peer\n"
        "asked = 0\n"
        "def loss(outputs, targets, reduction='mean'):\n"
        "    global asked\n"
        "    asked += 1\n"
        "    return {}['lost'] if asked > 20 else torch.nn.functional.mse_loss(outputs, targets)\n"
        "def problem(shard, agents, seed, personalization):\n"
        "    torch.manual_seed(seed)\n"
        "    x = torch.randn(20, 2)\n"
        "    data = [(x, x[:, :1])] * 3\n"
        "    return peer.ModuleProblem(torch.nn.Linear(2, 1), *data[:2], loss=loss)\n"
    )
    assert main([*COMMANDS[0], "--task", str(file)]) == 1
    told = said(capsys)
    assert f"--task {file} fails: KeyError: 'lost' ({file}:6, in loss;" in told


def test_a_bug_of_ours_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise IndexError("ours")

    monkeypatch.setattr("peer.commands.simulate.make_task", fails)
    monkeypatch.setattr("peer.faulty_parts.users_line", lambda _: None)
    with pytest.raises(IndexError, match="ours"):
        main([*COMMANDS[0]])


def test_only_a_folder_of_this_run_is_written_to(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with register("personalization", "breaks", lambda: 1 / 0):
        assert main([*COMMANDS[0], "--personalization", "breaks", "--out", str(tmp_path)]) == 2
    assert "division by zero" in said(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
