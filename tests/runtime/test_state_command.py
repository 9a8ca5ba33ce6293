"""`hyperpush state`, and agents that are killed, cut short of room, or damaged, as users find them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file

from peer.cli import main
from tests.runtime.test_run_command import Started, read, start

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

__all__ = ["start"]  # a fixture

ALONE = (
    "--shard",
    "1/2",
    "--listen-s-max",
    "0.2",
    "--hyper-step-size",
    "0.0001",
    "--checkpoint-ticks",
    "20",
    "--admin",
    "127.0.0.1:0",
)


def shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert main(["state", "show", str(folder), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def kill_when_kept(one: Started, folder: Path, number: int, capsys: pytest.CaptureFixture[str]) -> Any:
    """End it without a word as soon as so many checkpoints have been kept; what it has left."""
    one.said("status and faults")
    while not (found := shown(folder, capsys)["checkpoints"]) or found[-1]["number"] < number:
        assert one.process.poll() is None
    one.process.kill()
    one.ended()
    return shown(folder, capsys)


def test_who_is_killed_goes_on_from_its_newest_checkpoint(
    start: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same identity, a higher incarnation and epoch, more ticks; also after a move, and after damage."""
    folder = tmp_path / "state"
    known: dict[str, Any] = {"incarnation": 0, "epoch": 0}
    ticks = 0
    for life in range(3):
        one = start(*ALONE, "--state", str(folder), "--json", str(tmp_path / "found.json"))
        if life:
            came_back = one.said(r"goes on from the checkpoint of \S+: tick (\d+), epoch (\d+), incarnation")
            assert int(came_back[1]) == ticks
        found = kill_when_kept(one, folder, 5 * (life + 1), capsys)
        assert found["identity"] == known.setdefault("identity", found["identity"])
        assert found["incarnation"] == known["incarnation"] + 1
        assert found["epoch"] > known["epoch"]
        assert found["checkpoints"][-1]["ticks"] > ticks
        assert len(found["checkpoints"]) >= 3
        known, ticks = found, found["checkpoints"][-1]["ticks"]
        folder = folder.rename(tmp_path / f"moved-{life}")
    newest = found["checkpoints"][-1]["number"]
    tensors = folder / f"checkpoint-{newest:08}.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-8])
    (folder / "agent.json").write_bytes(b"\0" * 100)
    assert main(["state", "verify", str(folder)]) == 1
    told = capsys.readouterr().out
    assert f"checkpoint {newest} is cut short" in told
    assert "agent.json is damaged or cut short; its copy is whole" in told
    assert f"{len(found['checkpoints']) - 1} of {len(found['checkpoints'])} checkpoints are whole" in told
    one = start(*ALONE, "--state", str(folder), "--json", str(tmp_path / "found.json"))
    one.said(r"state: .*agent.json is damaged or cut short; its copy is whole and was used")
    one.said(rf"state: checkpoint {newest} is cut short")
    came_back = one.said(rf"state: checkpoint {newest - 1} is whole and is used")
    came_back = one.said(r"goes on from the checkpoint of \S+: tick (\d+)")
    assert int(came_back[1]) == found["checkpoints"][-2]["ticks"]
    assert one.terminate() == 0
    (ended,) = read(tmp_path / "found.json")["agents"]
    assert shown(folder, capsys)["checkpoints"][-1]["ticks"] == ended["ticks"] + int(came_back[1])
    assert main(["state", "verify", str(folder)]) == 0


def test_a_checkpoint_becomes_a_file_that_others_read(
    start: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "state"
    one = start(*ALONE, "--state", str(folder))
    one.said("status and faults")
    while not folder.exists() or not shown(folder, capsys)["checkpoints"]:
        pass
    one.process.kill()
    one.ended()
    assert main(["state", "export", str(folder), str(tmp_path / "model.safetensors")]) == 0
    named = load_file(tmp_path / "model.safetensors")
    assert sorted(named) == ["adjoint.x", "hyperparameters.h", "model.x"]
    assert main(["state", "show", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "incarnation 1" in told
    assert "hyperparameters.h" in told
    number = shown(folder, capsys)["checkpoints"][0]["number"]
    assert main(["state", "export", str(folder), str(tmp_path / "one"), "--number", str(number)]) == 0
    assert main(["state", "export", str(folder), str(tmp_path / "none"), "--number", "99"]) == 2
    assert "--number: 99 is not possible;" in capsys.readouterr().err
    other = start(*ALONE, "--seed", "1", "--state", str(folder))
    assert other.ended() == 2
    assert "is of another task, model or solver (fingerprint" in "".join(other.lines)


def test_a_directory_without_an_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["state", "show", str(tmp_path / "missing")]) == 2
    assert "is no directory; give what --state of an agent was given" in capsys.readouterr().err
    assert main(["state", "show", str(tmp_path)]) == 0
    assert "no identity yet: no agent has used this directory" in capsys.readouterr().out
    assert main(["state", "verify", str(tmp_path)]) == 1
    assert "there is no identity" in capsys.readouterr().out
    assert main(["state", "export", str(tmp_path), str(tmp_path / "file")]) == 2
    assert "has no whole checkpoint" in capsys.readouterr().err
