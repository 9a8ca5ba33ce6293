"""`hyperpush state`, and agents that are killed, cut short of room, or damaged, as users find them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file

from peer.checkpoints import Checkpoint
from peer.cli import main
from peer.state import StateDirectory
from tests.runtime.agents import ring
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
    one.said(r"state: .*agent.json is damaged or cut short; its copy is whole and was used to mend it")
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
    for number in (found := [row["number"] for row in shown(folder, capsys)["checkpoints"]]):
        file = folder / f"checkpoint-{number:08}.safetensors"
        whole = file.read_bytes()
        assert main(["state", "export", str(folder), str(file)]) == 2
        assert "is not possible; give a place outside the state directory" in capsys.readouterr().err
        assert file.read_bytes() == whole
    other = start(*ALONE, "--seed", "1", "--state", str(folder))
    assert other.ended() == 2
    assert "is of another task, model or solver (fingerprint" in "".join(other.lines)
    for name in ("agent.json", "agent.json.copy"):
        (folder / name).write_bytes(b"nonsense")
    assert main(["state", "show", str(folder)]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "agent.json is damaged or cut short, so what its identity used is lost; delete" in told
    assert "hyperparameters.h" in told, "the checkpoints are whole"
    assert main(["state", "show", str(folder), "--json"]) == 1
    assert [row["number"] for row in json.loads(capsys.readouterr().out)["checkpoints"]] == found


def test_what_has_lost_its_identity_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify` said that no agent had used it, and the next start was a new one without a word."""
    folder = tmp_path / "state"
    with StateDirectory(folder) as state:
        state.start()
        lost = state.identity.fingerprint
        state.keep_checkpoint(Checkpoint(lost, "model", 1, 1, "2026-01-01", {"ticks": 1}, b""))
    (folder / "checkpoint-00000002.safetensors.new").write_bytes(b"half")
    (folder / "agent.json").unlink()
    (folder / "identity.key.copy").unlink()
    assert main(["state", "verify", str(folder)]) == 1
    told = capsys.readouterr().out
    assert f"{folder}/agent.json is missing; its copy is whole\n" in told
    assert f"{folder}/identity.key.copy is missing; its copy is whole\n" in told
    assert "2.safetensors.new is half a checkpoint: it is being written, or the next start removes it" in told
    assert "1 of 1 checkpoints are whole; 2 problems" in told
    (folder / "identity.key").unlink()
    missing = f"is lost: {folder}/identity.key and its copy are missing; the next start makes a new identity"
    for whose in (f"the identity {lost}", "whose checkpoints these are"):
        for command in (["verify"], ["show", "--json"]):
            assert main(["state", command[0], str(folder), *command[1:]]) == 1
            assert f"{whose} {missing}" in capsys.readouterr().out
        (folder / "agent.json.copy").unlink(missing_ok=True)


def test_who_loses_its_directory_goes_on_and_ends_with_results(start: Any, tmp_path: Path) -> None:
    """Removed, or on a disk that was unmounted: it failed at the next checkpoint, or at the end."""
    key = tmp_path / "key"
    key.write_text(ring(1).to_text())
    folder = tmp_path / "state"
    files = ("--key", str(key), "--state", str(folder), "--json", str(tmp_path / "found.json"))
    one = start(*ALONE, *files)
    one.said("status and faults")
    while not list(folder.glob("checkpoint-*.json")):
        assert one.process.poll() is None
    folder.rename(tmp_path / "elsewhere")
    one.said(f"no checkpoint was kept: state: {folder} cannot be used: No such file or directory; make room")
    assert one.terminate() == 0
    assert len(read(tmp_path / "found.json")["agents"]) == 1


def test_a_directory_without_an_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["state", "show", str(tmp_path / "missing")]) == 2
    assert "is no directory; give what --state of an agent was given" in capsys.readouterr().err
    assert main(["state", "show", str(tmp_path)]) == 0
    assert "no identity yet: no agent has used this directory" in capsys.readouterr().out
    assert main(["state", "verify", str(tmp_path)]) == 1
    assert "there is no identity" in capsys.readouterr().out
    assert main(["state", "export", str(tmp_path), str(tmp_path.parent / "file")]) == 2
    assert "has no whole checkpoint" in capsys.readouterr().err
