"""`hyperpush export`: the personal model of what a real agent has kept, as a file for others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import torch

from peer.checkpoints import CheckpointStore
from peer.cli import main
from peer.errors import StateError
from peer.file_disk import FileDisk
from peer.kept import kept_by
from peer.tasks import make_task

if TYPE_CHECKING:
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]

SHARD = ("--shard", "2/6", "--personalization", "head+logits")
ALONE = ("--no-zeroconf", "--listen", "127.0.0.1:0", "--admin", "none", "--listen-s-max", "0.1")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an agent that learned alone for a while has kept."""
    folder = tmp_path_factory.mktemp("kept") / "state"
    assert main(["run", *ALONE, *SHARD, "--state", str(folder), "--ticks", "40", "--tick-ms", "5"]) == 0
    return folder


def told(capsys: Capture, *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["export", *arguments]) == code
    output = capsys.readouterr()
    return output.out + output.err


def test_a_file_says_what_the_agent_says(state: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "model.pt2"
    shown = told(capsys, str(state), str(file), *SHARD)
    assert f"personal model in {file}, torch-export, {file.stat().st_size:,} bytes" in shown
    assert "largest difference from the agent's own outputs: " in shown
    assert "formula, in the file: y = y_0; y = exp(logits.log_scale) * y + logits.bias" in shown
    task = make_task("digits", 6, 0, "head+logits", shard=1)
    problem: Any = task.problems[1]
    kept = kept_by(state, problem, task.fingerprint)
    assert f"{kept}: personal model" in shown
    inputs = problem.test_set[0]
    with torch.no_grad():
        own = problem.predict(kept.model, kept.learner.hyperparameters, inputs, kept.learner.local)
    program: Any = torch.export.load(file)
    torch.testing.assert_close(program.module()(inputs), own)
    tensors = tmp_path / "tensors"
    shown = told(capsys, str(state), str(tensors), *SHARD, "--format", "safetensors")
    assert "safetensors" in shown
    found = safetensors.torch.load_file(tensors)
    assert set(found) == {
        *(f"learners.0.{place}.{kind}" for place in (0, 2) for kind in ("weight", "bias")),
        *("personal.logits.log_scale", "personal.logits.bias"),
    }
    assert torch.equal(found["learners.0.2.bias"], kept.learner.local["head.2.bias"])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--shard", "2/6"], "does not fit"),
        ([*SHARD, "--seed", "1"], "give the task, seed, shard, personalization and data"),
        (["--personalization", "head+logits", "--shard", "2/7"], "give the task, seed, shard"),
        ([*SHARD, "--task", "synthetic"], "--task: 'synthetic' is not possible; its problems are no peer"),
        (
            [*SHARD, "--format", "pickle"],
            "--format: 'pickle' is not possible; give one of torch-export, onnx",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], problem: str, state: Path, tmp_path: Path, capsys: Capture
) -> None:
    printed = told(capsys, str(state), str(tmp_path / "model.pt2"), *arguments, code=2)
    assert problem in printed
    assert printed.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_task_that_only_looks_alike_is_refused(state: Path) -> None:
    """What a task freezes is in no checkpoint: shapes alone say too little."""
    problem: Any = make_task("digits", 6, 0, "head+logits", shard=1).problems[1]
    with pytest.raises(StateError, match="it was learned of another task, or with another seed or number"):
        kept_by(state, problem, "digits/6/1")


def test_places_that_take_no_file_are_refused(state: Path, tmp_path: Path, capsys: Capture) -> None:
    for file, problem in (
        (state / "model.pt2", "give a place outside the state directory"),
        (tmp_path / "none" / "model.pt2", "give a file in a folder that exists"),
        (tmp_path / "model", "give a name that ends in .pt2, .onnx, .safetensors, or --format"),
    ):
        assert problem in told(capsys, str(state), str(file), *SHARD, code=2)
    assert "is no directory" in told(capsys, str(tmp_path / "x"), str(tmp_path / "m.pt2"), *SHARD, code=2)
    assert "no whole checkpoint" in told(
        capsys, str(tmp_path), str(tmp_path.parent / "m.pt2"), *SHARD, code=2
    )


def test_with_a_damaged_checkpoint_it_is_the_one_before(state: Path, tmp_path: Path, capsys: Capture) -> None:
    store = CheckpointStore(FileDisk(state))
    newest = store.numbers()[-1]
    if len(store.numbers()) < 2:
        assert main(["run", *ALONE, *SHARD, "--state", str(state), "--ticks", "10", "--tick-ms", "5"]) == 0
        newest = store.numbers()[-1]
    damaged = next(
        path for path in state.iterdir() if str(newest) in path.name and "safetensors" in path.name
    )
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1])
    try:
        shown = told(capsys, str(state), str(tmp_path / "model.safetensors"), *SHARD)
    finally:
        damaged.write_bytes(content)
    assert f"checkpoint {store.numbers()[-2]} of " in shown
    assert f"checkpoint {newest} is cut short" in shown
