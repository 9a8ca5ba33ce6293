"""What is told of one peer, one message, one hyperparameter."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import torch

import peer
from peer import assembly
from peer.errors import SettingError
from peer.events import Compute, HyperRateLowered
from peer.settings import AgentSettings
from peer.trace.files import Trace
from peer.trace.records import TraceError
from peer.trace.story import HyperparameterStory, teller_of
from tests.agent_traces import GIVEN, MANY_BYTES, hunted, quiet, replayed
from tests.unit.driving import push
from wire import DecodeError, Heartbeat, peer_mark

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = AgentSettings(
    tick_s=1.0,
    tick_jitter=0.0,
    warm_up_ticks=2.0,
    model_step_size=0.1,
    adjoint_step_size=0.1,
    momentum=0.0,
    hyper_step_size=0.1,
)


def problem(size: int = 2) -> peer.QuadraticProblem:
    return peer.QuadraticProblem.random(torch.Generator().manual_seed(0), dimension=4, hyper_dimension=size)


class Traced:
    """One agent that leaves a trace, driven by hand; its story."""

    def __init__(self, path: Path, *, founder: bool = True, size: int = 2) -> None:
        self.path, self.size = path, size
        self.trace = Trace(path, GIVEN, bytes_max=MANY_BYTES, is_real=False, say=quiet)
        self.agent, _ = assembly.make_agent(
            problem(size), SETTINGS, peer="a", swarm="s", seed=0, now=0.0, founder=founder, trace=self.trace
        )
        self.now = 0.0
        self.agent.peer_seen("b", 0, 0.0)

    def tick(self) -> None:
        deadline = self.agent.next_deadline()
        assert deadline is not None
        self.now = deadline
        self.agent.handle_timer(self.now)
        for effect in self.agent.take_effects():
            if isinstance(effect, Compute):
                self.agent.computed(effect.work(), self.now)

    def hear(self, sender: str = "b", *, scale: float = 1.0, **fields: Any) -> None:
        own = self.agent.identity
        lengths = self.agent.solver.array_lengths(0)
        arrays = tuple(torch.full((length,), 0.01 * scale, dtype=torch.float32) for length in lengths)
        given = {"arrays": arrays, "targets": (peer_mark("a"),), "tick": 3, **fields}
        self.agent.receive(push(sender, swarm=own.swarm, fingerprint=own.fingerprint, **given), self.now)

    def told(self, subject: str) -> list[str]:
        self.trace.close()
        lines: list[str] = []
        found = replayed(
            self.path, problem(self.size), teller=teller_of(subject), tell=lambda _, line: lines.append(line)
        )
        assert found.difference is None
        return lines


# ---- a message


def test_a_message_that_is_taken_in(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a")
    traced.tick()
    traced.hear(sequence=1)
    traced.tick()
    traced.hear(sequence=1)
    assert traced.told("message:b/0/1") == [
        "came: block 0, sequence 1, epoch 1, its sender's tick 3; filed",
        "taken in with tick 2: block 0, sequence 1, epoch 1",
        "came: block 0, sequence 1, epoch 1, its sender's tick 3; stale",
    ]


def test_a_message_that_another_replaces(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a")
    traced.tick()
    for sequence in (1, 2):
        traced.hear(sequence=sequence)
    traced.tick()
    assert traced.told("message:b/0/1") == [
        "came: block 0, sequence 1, epoch 1, its sender's tick 3; filed",
        "replaced before a tick came: block 0, sequence 2, epoch 1 has come, which contains it",
        "taken in with tick 2: block 0, sequence 2, epoch 1",
    ]


def test_a_message_that_is_lost(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a")
    traced.tick()
    for sequence in (1, 3, 4):
        traced.hear(sequence=sequence)
        traced.tick()
    traced.hear(sequence=2)
    assert traced.told("message:b/0/2") == [
        "has not come so far, but block 0, sequence 3, epoch 1, which contains it; filed",
        "taken in with tick 3: block 0, sequence 3, epoch 1",
        "came: block 0, sequence 2, epoch 1, its sender's tick 3; stale",
    ]
    assert Traced(tmp_path / "b").told("message:b/0/2") == []


def test_a_message_that_an_epoch_overtakes(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a")
    traced.tick()
    traced.hear(sequence=1)
    traced.hear(sequence=1, epoch=2, tick=1)
    traced.tick()
    assert traced.told("message:b/0/1")[1:] == [
        "came: block 0, sequence 1, epoch 2, its sender's tick 1; in the place of an older one",
        "dropped before a tick came: block 0, sequence 1, epoch 2 has come",
        "taken in with tick 2: block 0, sequence 1, epoch 2",
    ]


def test_a_message_of_a_peer_that_is_not_to_be_heard(tmp_path: Path) -> None:
    """Its heartbeat says that it is of the epoch before."""
    traced = Traced(tmp_path / "a")
    traced.tick()
    traced.hear(sequence=1)
    traced.hear("c", sequence=1, epoch=2, arrays=())
    traced.agent.peer_gone("b", traced.now)
    traced.tick()
    assert traced.told("message:b/0/1")[1:] == [
        "left out of tick 2: its epoch is over, or its sender is not to be heard"
    ]


def test_a_message_to_one_who_listens(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a", founder=False)
    traced.hear(sequence=5)
    traced.tick()
    assert (
        traced.told("message:b/0/5")[1:]
        == [
            "has not come so far, but block 0, sequence 5, epoch 1, which contains it; filed",
            "listened to, by an agent that takes no part yet",
        ][1:]
    )


def test_a_message_that_is_refused_or_not_believed(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a")
    traced.tick()
    for sequence in range(1, 12):
        traced.hear(sequence=sequence)
        traced.tick()
    traced.hear(sequence=12, scale=1e9)
    traced.tick()
    with contextlib.suppress(DecodeError):
        traced.hear(sequence=13)
    told = traced.told("message:b/0/12")
    assert told[0].startswith("came: block 0, sequence 12")
    assert told[2].startswith("its sender is not believed: model: ")
    assert traced.told("message:b/0/13") == [
        "its sender is not believed: " + told[2].removeprefix("its sender is not believed: "),
        "came: block 0, sequence 13, epoch 1, its sender's tick 3; refused: quarantined",
    ]


def test_others_are_no_part_of_a_story(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a")
    traced.agent.peer_seen("c", 0, 0.0)
    traced.tick()
    for sequence in range(1, 12):
        for sender in ("b", "c"):
            traced.hear(sender, sequence=sequence)
        traced.tick()
    traced.hear("b", sequence=12)
    traced.hear("c", sequence=12, scale=1e9)
    traced.tick()
    told = traced.told("message:b/0/12")
    assert [line.partition(":")[0] for line in told] == ["came", "taken in with tick 13"]
    told = traced.told("message:c/0/12")
    assert [line.partition(":")[0] for line in told][2:] == ["its sender is not believed"]
    assert not any("not believed" in line for line in traced.told("peer:b"))


def test_a_message_of_another_life(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a")
    traced.tick()
    traced.agent.peer_seen("b", 5, traced.now)
    for sender, incarnation in (("b", 3), ("stranger", 0)):
        with pytest.raises(DecodeError):
            traced.hear(sender, sequence=1, incarnation=incarnation)
    for sender in ("b", "stranger"):
        (line,) = traced.told(f"message:{sender}/0/1")
        assert line.endswith("; refused: unknown_sender")


def test_an_own_message(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a")
    traced.tick()
    traced.tick()
    assert traced.told("message:a/0/2") == ["sent to b: block 0, sequence 2, epoch 1, tick 2"]


# ---- a peer


def test_a_peer(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a")
    traced.agent.peer_found("c", 0.0)
    traced.tick()
    traced.hear(sequence=1)
    traced.hear("c", arrays=(), targets=(), digest=(Heartbeat("c", 0, 4), Heartbeat("b", 0, 7)))
    traced.hear("c", arrays=(), targets=(), digest=(Heartbeat("c", 0, 5), Heartbeat("b", 0, 7)))
    traced.tick()
    traced.hear(arrays=(), targets=(), digest=(Heartbeat("b", 0, 8, left=True),))
    traced.agent.peer_gone("b", traced.now)
    traced.agent.leave(traced.now)
    told = traced.told("peer:b")
    assert told[:3] == [
        "named as a member",
        "to be reached at an unknown address",
        "PeerArrived: peer b, incarnation 0",
    ]
    expected = [
        "epoch 1 (founded): it becomes an out-neighbour",
        "sent to it: block 0, sequence 1, epoch 1",
        "came from it: block 0, sequence 1, epoch 1, its tick 3; filed",
        "c tells: heartbeat 7 of incarnation 0",
        "taken in with tick 2: block 0, sequence 1, epoch 1",
        "came from it: goodbye, its tick 3",
        "PeerDeparted: peer b",
    ]
    assert [line for line in told if line in expected] == expected
    assert sum("c tells" in line for line in told) == 1
    told = traced.told("peer:c")
    assert told[0] == "found by discovery"
    assert "epoch 1 (founded): it is no out-neighbour" in told
    assert "came from it: sign of life, epoch 1, its tick 3" in told


def test_a_peer_that_comes_and_goes(tmp_path: Path) -> None:
    hunted(3, tmp_path)
    told: list[str] = []
    path = tmp_path / "agent-2.0"
    replayed(path, teller=teller_of("peer:agent-0+1"), tell=lambda _, line: told.append(line))
    text = "\n".join(told)
    assert "it stays an out-neighbour" in text or "it becomes an out-neighbour" in text
    assert "its tick" in text
    assert "tells: heartbeat" in text


def test_a_peer_that_lies(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a")
    traced.tick()
    for sequence in range(1, 12):
        traced.hear(sequence=sequence)
        traced.tick()
    traced.hear(sequence=12, scale=1e9)
    traced.tick()
    with contextlib.suppress(DecodeError):
        traced.hear(sequence=13)
    traced.agent.peer_gone("b", traced.now)
    told = traced.told("peer:b")
    assert any(line.startswith("not believed: model: ") for line in told)
    assert any(line.startswith("PeerQuarantined: peer b, reason model: ") for line in told)
    assert any(line.endswith("; refused: quarantined") for line in told)
    assert told[-2:] == ["said to be gone", "PeerDeparted: peer b"]


# ---- a hyperparameter


def test_a_hyperparameter(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a")
    for _ in range(4):
        traced.tick()
    first, *others = traced.told("hyperparameter:h")
    assert first.startswith("tick 0: h = [")
    assert "hypergradient" not in first
    assert len(others) == 4
    assert all(", hypergradient [" in line and "at 1 of the full step size" in line for line in others)
    numbers = [line.partition("[")[2].partition("]")[0] for line in (first, *others)]
    assert len(set(numbers)) == 5


def test_many_numbers_are_told_by_their_length(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "a", size=20)
    traced.tick()
    assert ": h = 20 numbers of length " in traced.told("hyperparameter:h")[-1]


def test_a_hyperparameter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="its agent has no hyperparameter 'x'; there are: h"):
        Traced(tmp_path / "a").told("hyperparameter:x")
    hunted(12, tmp_path / "hunt")
    with pytest.raises(TraceError, match="has no hyperparameter 'h'; there are: none"):
        replayed(tmp_path / "hunt" / "agent-0.0", teller=teller_of("hyperparameter:h"))


def test_what_slows_a_hyperparameter_down_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lowered = HyperRateLowered(0.5, "they reversed")
    monkeypatch.setattr("peer.progress.Progress.take", lambda *_, **__: [lowered])
    traced = Traced(tmp_path / "a")
    traced.tick()
    assert "HyperRateLowered: factor 0.5, reason they reversed" in traced.told("hyperparameter:h")


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "peer:",
        "peer",
        "message:a/0",
        "message:/0/1",
        "message:a/x/1",
        "message:a/0/y",
        "hyperparameter:",
        "x:y",
    ],
)
def test_a_subject_that_is_none_is_refused(subject: str) -> None:
    with pytest.raises(
        SettingError, match="give peer:ID, message:SENDER/BLOCK/SEQUENCE or hyperparameter:NAME"
    ):
        teller_of(subject)


def test_names_may_hold_what_separates() -> None:
    assert isinstance(teller_of("hyperparameter:a/b"), HyperparameterStory)
    assert teller_of("message:a/b/0/1") is not None
