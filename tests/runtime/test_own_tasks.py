"""`hyperpush init` and `hyperpush check` as somebody uses them who has a task of their own."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from peer.cli import main
from peer.options.names import TEMPLATES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_written_is_in_order_and_is_learned(
    here: Path, template: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--template", template, "my project"]) == 0
    told = capsys.readouterr().out
    assert "written: my project/task.py, my project/agent.toml" in told
    assert "cd 'my project' && hyperpush check task.py" in told
    task = here / "my project" / "task.py"
    assert main(["check", str(task), "--seconds", "0.05", "--agents", "4"]) == 0
    told = capsys.readouterr().out
    assert told.rstrip().endswith("nothing is wrong")
    assert "a tick takes" in told
    assert (
        main(["simulate", "--task", str(task), "--agents", "4", "--ticks", "12", "--json", "found.json"]) == 0
    )
    assert len(json.loads((here / "found.json").read_text())["agents"]) == 4


def test_the_configuration_is_one_that_every_command_takes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--template", "custom"]) == 0
    assert "  hyperpush swarm --task task.py" in capsys.readouterr().out
    content = (here / "agent.toml").read_text()
    assert main(["config", "--config", "agent.toml"]) == 0
    assert "my-swarm" in capsys.readouterr().out
    lines = [line.removeprefix("# ") for line in content.splitlines() if " = " in line]
    (here / "all.toml").write_text("\n".join(lines[:-2]) + "\n[settings]\n" + "\n".join(lines[-2:]) + "\n")
    (here / "swarm.key").write_text("")
    assert main(["config", "--config", "all.toml"]) == 0, "what is commented out works as well"
    shown = capsys.readouterr().out
    assert "ticks:1000" in shown
    assert "residual" not in shown, "which minibatches never reach"
    assert "200000" in shown


def test_nothing_is_overwritten_and_nothing_half_done(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "agent.toml").write_text("mine")
    assert main(["init"]) == 2
    assert "agent.toml is there already; give another directory" in capsys.readouterr().err
    assert sorted(path.name for path in here.iterdir()) == ["agent.toml"]
    assert (here / "agent.toml").read_text() == "mine"
    assert main(["init", "--template", "sound", "x"]) == 2
    assert "--template: 'sound' is not possible; give one of vision" in capsys.readouterr().err
    (here / "file").write_text("")
    assert main(["init", "file/x"]) == 2
    assert "give a directory that can be written to" in capsys.readouterr().err


def test_a_task_with_a_mistake_is_told_what_it_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--template", "vision"]) == 0
    task = here / "task.py"
    source = task.read_text()
    task.write_text(source.replace("nn.GroupNorm(4, 16)", "nn.InstanceNorm2d(16, track_running_stats=True)"))
    assert main(["check"]) == 1
    told = capsys.readouterr().out
    assert "problem  no agent can learn this task" in told
    assert "(InstanceNorm2d) keeps running statistics; use GroupNorm" in told
    assert told.rstrip().endswith("1 problem")
    task.write_text(source.replace("torch.manual_seed(seed)", "torch.manual_seed(seed + shard)"))
    assert main(["check", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == 1
    (problem,) = [one for one in found["findings"] if one["level"] == "problem"]
    assert problem["finding"] == "models of different agents begin with different numbers"
    assert "draw the model with `seed` alone" in problem["remedy"]
    task.write_text(source.replace('settings = {"hyper_step_size": None}', "settings = {}"))
    assert main(["check", "--seconds", "0.05", "--mbit", "1000"]) == 0
    told = capsys.readouterr().out
    assert "note     what is personal is held as it is" in told
    assert "--bytes-per-second" not in told


def test_losses_that_fail_end_the_check_early(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--template", "custom"]) == 0
    task = here / "task.py"
    task.write_text(task.read_text().replace("misses.square().mean() / 2 + penalty / 2", "missing"))
    assert main(["check"]) == 1
    told = capsys.readouterr().out
    assert "problem  inner_loss fails: NameError: name 'missing' is not defined" in told
    assert "a tick takes" not in told


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("yield self.train", "raise OSError('no disk')", "problem  batches() fails: OSError: no disk"),
        (
            "misses.square().mean() / 2 + penalty / 2",
            "torch.tensor(misses.square().mean().detach().numpy(), requires_grad=True)",
            "parameters get no gradient",
        ),
        ("misses.square().mean() / 2", "misses.square() / 2", "problem  inner_loss is not one number"),
    ],
)
def test_whatever_a_task_does_is_told_and_not_thrown(
    here: Path, capsys: pytest.CaptureFixture[str], good: str, bad: str, told: str
) -> None:
    assert main(["init", "--template", "custom"]) == 0
    task = here / "task.py"
    task.write_text(task.read_text().replace(good, bad, 1))
    assert main(["check"]) == 1
    assert told in capsys.readouterr().out


def test_frozen_layers_and_other_tasks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    task = here / "task.py"
    source = task.read_text().replace("    return nn.Sequential(", "    net = nn.Sequential(")
    source = source.replace(
        "        nn.Linear(32 * 4 * 4, 10),\n    )\n",
        "        nn.Linear(32 * 4 * 4, 10),\n    )\n    net[0].requires_grad_(False)\n    return net\n",
    )
    task.write_text(source)
    assert main(["check", "--seconds", "0.05"]) == 0
    assert (
        "frozen parameters are neither sent nor kept twice: 98.39% of all are learned"
        in capsys.readouterr().out
    )
    assert main(["check", "digits", "--shard", "8"]) == 2
    assert "shard: 8 is not possible; give a number below the 8 agents" in capsys.readouterr().err
    assert main(["check", "no-such-task"]) == 1
    assert "give one of digits" in capsys.readouterr().out


def test_what_init_says_to_do_next_can_be_done(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Word for word, but for when to end: `run` was refused, as it would have listened to everybody."""
    assert main(["init", "--template", "tabular", "."]) == 0
    told = re.findall(r"^  hyperpush (.+?)  ", capsys.readouterr().out, re.MULTILINE)
    assert [command.split()[0] for command in told] == ["check", "swarm", "run"]
    for command in told:
        if not command.startswith("check"):
            monkeypatch.setenv("HYPERPUSH_TICKS", "2")
        assert main(command.split()) == 0, capsys.readouterr().err


def test_a_run_that_could_not_learn_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ended with scores and exit code 0; and what is missing is named, set, column and rows."""
    file = tmp_path / "task.py"
    file.write_text(MISSING)
    assert main(["simulate", "--task", str(file), "--agents", "3", "--ticks", "20"]) == 1
    printed = capsys.readouterr().out
    assert re.search(
        r"\nNo step of any agent was possible \((\d+) of \1 ticks\): gradients are not finite", printed
    )
    assert "better off" not in printed
    assert main(["check", str(file)]) == 1
    wanted = (
        "infinite or missing values: train inputs in 2 of 20 rows, column 1 counted from 0 -> fill them in"
    )
    assert wanted in capsys.readouterr().out


MISSING = """
import peer, torch


def problem(shard, agents, seed, personalization):
    torch.manual_seed(0)
    inputs = torch.randn(60, 4)
    targets = (inputs.sum(dim=1) > 0).long()
    inputs[3:5, 1] = float("nan")
    parts = [(inputs[a:b], targets[a:b]) for a, b in ((0, 20), (20, 40), (40, 60))]
    return peer.ModuleProblem(torch.nn.Linear(4, 2), *parts, personalization=personalization)
"""
