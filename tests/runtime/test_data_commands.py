"""Commands that are told which data: they learn, show and replay, or refuse in one line."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from peer.cli import main
from tests.agent_traces import contents, rewritten
from tests.data_files import needs_fashion_mnist, write_npz, write_set

if TYPE_CHECKING:
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("images")
    write_set(path, classes=5)
    return path


def told(capsys: Capture, *arguments: str, code: int = 0) -> list[str]:
    capsys.readouterr()
    assert main([*arguments]) == code
    output = capsys.readouterr()
    return (output.out + output.err).splitlines()


def test_images_are_learned_and_replayed(images: Path, tmp_path: Path, capsys: Capture) -> None:
    """The trace says how the data were shared out, not where they lie."""
    chosen = ("--partition", "dirichlet:1+rotated:2", "--samples", "300", "--model", "cnn")
    where = ("--data-dir", str(images))
    arguments = ("--task", "mnist", "--agents", "3", "--ticks", "12", *chosen, *where)
    written = tmp_path / "found.json"
    lines = told(capsys, "simulate", *arguments, "--trace", str(tmp_path / "traces"), "--json", str(written))
    assert any("shared + personal" in line for line in lines)
    config = json.loads(written.read_text())["config"]
    assert (config["partition"], config["model"], config["samples"]) == (
        "dirichlet:1.0+rotated:2",
        "cnn",
        300,
    )
    assert config["data_dir"] == str(images)
    trace = tmp_path / "traces" / "agent-1.0"
    assert str(images).encode() not in trace.read_bytes()
    assert told(capsys, "replay", str(trace), *where)[-1].startswith("all ")
    (*_, line) = told(capsys, "replay", str(trace), code=2)
    assert (
        "this machine lacks its task: task: 'mnist' is not possible; its data are not on this machine" in line
    )
    assert "--data-dir DIR" in line
    write_set(tmp_path / "other", classes=6)
    (*_, line) = told(capsys, "replay", str(trace), "--data-dir", str(tmp_path / "other"), code=2)
    assert "its task was mnist 300 of " in line
    beginning, state, inputs = contents(trace)
    for wrong, reason in (
        ({"samples": -1}, "samples: -1 is not possible"),
        ({"partition": "x"}, "partition: 'x' is not possible"),
        (7, "origin.data is 7, it has to be a map"),
    ):
        changed = {**beginning, "origin": {**beginning["origin"], "data": wrong}}
        (tmp_path / "odd").write_bytes(rewritten(changed, state, inputs).getvalue())
        (*_, line) = told(capsys, "replay", str(tmp_path / "odd"), *where, code=2)
        assert reason in line


def test_an_agent_with_its_own_file_runs(tmp_path: Path, capsys: Capture) -> None:
    write_npz(tmp_path / "mine.npz")
    (tmp_path / "classes.txt").write_text("no\nyes\n")
    trace = tmp_path / "agent.trace"
    data = ("--data-dir", str(tmp_path))
    where = ("--listen", "127.0.0.1:0", "--listen-s-max", "0.05", "--no-zeroconf", "--admin", "none")
    task = ("--task", "folder", "--shard", "2/3", "--tick-ms", "5", "--ticks", "20", "--seed", "4")
    assert any(
        "local only" in line for line in told(capsys, "run", *task, *data, *where, "--trace", str(trace))
    )
    assert told(capsys, "replay", str(trace), *data)[-1].startswith("all ")
    told(capsys, "config", *task, *data, "--toml")


def test_a_swarm_learns_the_mixture_of_fedem(capsys: Capture) -> None:
    task = ("--task", "fedem-synthetic", "--agents", "3", "--ticks", "20", "--tick-ms", "5")
    assert any("mean over agents" in line for line in told(capsys, "swarm", *task))


def test_a_partition_is_shown(images: Path, tmp_path: Path, capsys: Capture) -> None:
    written = tmp_path / "counts.json"
    how = (
        "--partition",
        "shards:1+permuted:2",
        "--agents",
        "5",
        "--data-dir",
        str(images),
        "--task",
        "mnist",
    )
    lines = told(capsys, "partition", *how, "--json", str(written))
    assert "mnist, 5 agents, shards:1+permuted:2, seed 0" in lines[0]
    assert sum("█" in line for line in lines) == 5
    assert any("800 samples of 10 labels; 160 to 160 at an agent" in line for line in lines)
    found = json.loads(written.read_text())
    assert [agent["group"] for agent in found["agents"]] == [0, 1, 0, 1, 0]
    assert [(agent["train"], agent["validation"], agent["test"]) for agent in found["agents"]] == [
        (96, 32, 32)
    ] * 5
    assert np.array([agent["labels"] for agent in found["agents"]]).sum() == 800
    assert max(agent["labels"].count(0) for agent in found["agents"]) == 9, "one label each"


def test_the_partition_that_is_shown_is_the_one_that_is_learned(images: Path, tmp_path: Path) -> None:
    from peer.data.choice import DataChoice
    from peer.data.scheme import parse_scheme
    from peer.tasks import make_task

    written = tmp_path / "counts.json"
    for task, where in (("mnist", images), ("digits", None)):
        how = [
            "--task",
            task,
            "--partition",
            "dirichlet:0.7",
            "--agents",
            "4",
            "--seed",
            "9",
            "--json",
            str(written),
        ]
        assert main(["partition", *how, *(["--data-dir", str(where)] if where else [])]) == 0
        shown = json.loads(written.read_text())["agents"]
        made: Any = make_task(task, 4, 9, "none", choice=DataChoice(parse_scheme("dirichlet:0.7"), where))
        for agent, problem in zip(shown, made.problems, strict=True):
            parts = (problem.training_set[1], problem.validation_set[1], problem.test_set[1])
            assert [len(part) for part in parts] == [agent["train"], agent["validation"], agent["test"]]
            counts = sum(np.bincount(part, minlength=10) for part in parts)
            assert counts.tolist() == agent["labels"]


@pytest.mark.parametrize("end", ["png", "svg", "pdf"])
def test_a_partition_is_drawn(end: str, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'hyperpush[plot]'")
    figures = [tmp_path / f"{number}.{end}" for number in range(2)]
    for figure in figures:
        lines = told(capsys, "partition", "--partition", "permuted:3", "--figure", str(figure))
        assert "".join(lines).endswith(f"drawn: {figure}")
    data = figures[0].read_bytes()
    assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[end])
    assert len(data) > 5000
    if end == "png":
        assert data == figures[1].read_bytes(), "drawn again it is the same"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["--task", "synthetic"],
            "--task: 'synthetic' is not possible; give one whose samples are shared out: dig",
        ),
        (["--task", "folder"], "--task: 'folder' is not possible; say where its files are: --data-dir DIR"),
        (["--partition", "x"], "--partition: 'x' is not possible; give one of iid, dirichlet:ALPHA"),
        (["--agents", "1000"], "--agents: 1000 is not possible; 1797 digits do not give each device 10"),
        (["--samples", "7"], "--samples: '7' is not possible; task digits has no such choice"),
        (
            ["--figure", "x.bmp"],
            "--figure: 'x.bmp' is not possible; give a file that ends in .png, .svg, .pdf",
        ),
        (
            ["--figure", "/nowhere/x.png"],
            "--figure: '/nowhere/x.png' is not possible; give a file in a folder",
        ),
        (
            ["--json", "/nowhere/x"],
            "--json: '/nowhere/x' is not possible; give a file in a folder that exists",
        ),
        (
            ["--task", "mnist", "--data-dir", "/nowhere"],
            "--data-dir: '/nowhere' is not possible; there is no such",
        ),
        (
            ["--task", "mnist"],
            "--task: 'mnist' is not possible; its data are not on this machine; fetch its four",
        ),
        (["--agents", "201", "--least"], "--least is no option of this command"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    arguments: list[str], reason: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--least" in arguments:
        with pytest.raises(SystemExit):
            main(["partition", *arguments])
    else:
        assert main(["partition", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"hyperpush partition: {reason}")


def test_a_picture_without_matplotlib_is_refused(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (*_, line) = told(capsys, "partition", "--figure", str(tmp_path / "x.png"), code=2)
    assert line.endswith("install matplotlib: pip install 'hyperpush[plot]'")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["--task", "mnist", "--data-dir", "/nowhere"],
            "--data-dir: '/nowhere' is not possible; there is no such",
        ),
        (
            ["--task", "digits", "--model", "cnn"],
            "--model: 'cnn' is not possible; task digits has no such choice",
        ),
        (["--model", "vgg"], "--model: 'vgg' is not possible; give one of mlp, cnn"),
        (["--samples", "0"], "--samples: '0' is not possible; give a whole number, 1 or more"),
        (
            ["--partition", "rotated:9"],
            "--partition: 'rotated:9' is not possible; 'rotated:9' needs a whole number",
        ),
        (
            ["--partition", "column:pen"],
            "--partition: 'column:pen' is not possible; no column is called 'pen'",
        ),
        (
            ["--task", "synthetic", "--partition", "iid"],
            "--partition: 'iid' is not possible; task synthetic has no",
        ),
        (
            ["--task", "task.py", "--samples", "9"],
            "--samples: '9' is not possible; task task.py has no such choice",
        ),
    ],
)
@pytest.mark.parametrize("command", ["simulate", "run"])
def test_choices_that_do_not_fit_are_refused_in_one_line(
    command: str, arguments: list[str], reason: str, capsys: Capture
) -> None:
    where = ["--listen", "127.0.0.1:0", "--admin", "none"] if command == "run" else []
    assert main([command, *arguments, *where]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"hyperpush {command}: {reason}")
    assert error.count("\n") == 1


@needs_fashion_mnist
def test_fashion_mnist_is_learned(tmp_path: Path, capsys: Capture) -> None:
    written = tmp_path / "found.json"
    task = ("--task", "fashion-mnist", "--agents", "3", "--samples", "1200", "--ticks", "40")
    told(capsys, "simulate", *task, "--json", str(written))
    found = json.loads(written.read_text())
    assert found["config"]["task"] == "fashion-mnist"
    assert np.mean([agent["accuracy"]["personal"] for agent in found["agents"]]) > 0.65, "a tenth by chance"
