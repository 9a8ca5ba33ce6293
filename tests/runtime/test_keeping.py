"""Checkpoints of running agents: disks that are slow or full, and swarms that go on after all died."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from peer import service as service_module
from peer.errors import StateError
from peer.events import EpochEntered
from peer.state import StateDirectory
from peer.tensors import unpack
from tests.runtime.agents import LIMIT_S, SETTINGS, alive, group, quadratics

if TYPE_CHECKING:
    from pathlib import Path

    from wire import Push

OFTEN = replace(SETTINGS, checkpoint_s=0.0, checkpoint_ticks=5)
FULL = "state: agent.json cannot be used: No space left on device; make room"


async def test_a_full_disk_lets_an_agent_stand_still_and_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not entered the epoch that it could not keep, and is not ended by that."""
    monkeypatch.setattr(service_module, "DISK_AGAIN_S", 0.0)
    said: list[str] = []
    asked: list[int] = []
    room = threading.Event()
    problems = quadratics(2)
    async with group() as swarm:
        one = await swarm.add(problems[0], "one", on_problem=said.append)
        other = await swarm.add(problems[1], "other")
        persist = one.state.persist_epoch

        def refuse(epoch: int) -> None:
            asked.append(epoch)
            if not room.is_set():
                raise StateError(FULL)
            persist(epoch)

        monkeypatch.setattr(one.state, "persist_epoch", refuse)
        swarm.introduce()
        swarm.run()
        await swarm.until(lambda: len(asked) >= 10)
        assert one.state.epoch == 0
        room.set()
        await swarm.learned(problems, one, other)
        assert said == [f"{FULL}; the agent stands still until that is possible"], "once"


async def test_who_is_to_stop_while_it_stands_still_leaves_without_having_entered_the_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It failed without results or a goodbye. DESIGN (Epochs): a number is on disk before it is used."""
    monkeypatch.setattr(service_module, "DISK_AGAIN_S", LIMIT_S)
    said: list[str] = []
    told: list[Push[torch.Tensor]] = []
    async with group() as swarm:
        one, other, late = [
            await swarm.add(problem, f"agent-{n}", founder=n < 2, settings=OFTEN, on_problem=said.append)
            for n, problem in enumerate(quadratics(3))
        ]
        one.meet(other.record)
        other.meet(one.record)
        swarm.run(one, other)
        await swarm.ticks(20, one, other)
        durable, send = one.state.epoch, one.transport.send

        def refuse(_: int) -> None:
            raise StateError(FULL)

        def note(targets: Any, slot: int, frame: bytes) -> None:
            told.append(one.seal.unwrap(frame))
            send(targets, slot, frame)

        monkeypatch.setattr(one.state, "persist_epoch", refuse)
        one.meet(late.record)
        await swarm.until(lambda: said != [])
        ticks = one.agent.ticks
        told.clear()
        monkeypatch.setattr(one.transport, "send", note)
        await swarm.stop(one)
        await swarm.until(lambda: alive(other) == [])
        assert one.agent.epoch > durable == one.state.epoch
        assert [message for message in told if message.arrays] == []
        assert {message.epoch for message in told} == {0}
        assert sum(message.digest[0].left for message in told) == 3
        kept = one.state.checkpoint
        assert kept is not None, "what was learned is kept if it can be"
        assert (kept.values["ticks"], kept.epoch) == (ticks, durable)
    waits, leaves = said
    assert waits == f"{FULL}; the agent stands still until that is possible"
    assert leaves == f"{FULL}; the agent leaves without having entered epoch {one.agent.epoch}"


async def test_checkpoints_are_kept_while_the_agent_goes_on_and_the_newest_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writing, written = threading.Event(), threading.Event()
    kept: list[int] = []
    async with group() as swarm:
        one = await swarm.add(quadratics(1)[0], "one", founder=True, settings=OFTEN)
        keep = one.state.keep_checkpoint

        def slowly(checkpoint: object) -> None:
            writing.set()
            assert written.wait(LIMIT_S / 4), "the loop stands still"
            keep(checkpoint)  # type: ignore[arg-type]
            kept.append(int(checkpoint.values["ticks"]))  # type: ignore[attr-defined]

        monkeypatch.setattr(one.state, "keep_checkpoint", slowly)
        swarm.run()
        await swarm.until(writing.is_set)
        await swarm.ticks(50, one)
        waits = (one.agent.ticks - 1) // 5 * 5  # that of the very last tick may not wait yet
        written.set()
        await swarm.until(lambda: len(kept) >= 2)
        assert kept[0] < waits - 20
        assert kept[1] >= waits, "those in between are nothing to anybody"
        await swarm.stop(one)
    assert kept[-1] == one.agent.ticks, "the last word"
    assert one.state.checkpoint is not None
    assert one.state.checkpoint.values["ticks"] == kept[-1]


async def test_a_checkpoint_is_of_the_epoch_in_which_it_was_made() -> None:
    """It had the number of the moment in which it was written."""
    async with group() as swarm:
        one = await swarm.add(quadratics(1)[0], "one")
        one.state.persist_epoch(4)
        one._keeper.keep(one.agent.solver.snapshot())
        one.state.persist_epoch(5)
        await one._keeper.finish()
        assert one.state.checkpoint is not None
        assert one.state.checkpoint.epoch == 4


async def test_a_disk_that_refuses_checkpoints_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    refused: list[object] = []
    async with group() as swarm:
        one = await swarm.add(quadratics(1)[0], "one", founder=True, settings=OFTEN, on_problem=said.append)

        def refuse(checkpoint: object) -> None:
            refused.append(checkpoint)
            raise StateError(FULL)

        monkeypatch.setattr(one.state, "keep_checkpoint", refuse)
        swarm.run()
        await swarm.until(lambda: len(refused) >= 3)
    assert said == [f"no checkpoint was kept: {FULL}; learning goes on"]


async def test_a_swarm_of_which_all_were_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """Hyperparameters and estimates, in new incarnations and epochs; nothing of it was on the wire."""
    problems = quadratics(3)
    settings = replace(OFTEN, hyper_step_size=1e-3)
    before: list[torch.Tensor] = []
    for life in range(2):
        async with group() as swarm:
            for number, problem in enumerate(problems):
                state = StateDirectory(tmp_path / str(number))
                await swarm.add(problem, f"agent-{number}", settings=settings, state=state)
            if life:
                for service, hyperparameters in zip(swarm.members, before, strict=True):
                    assert torch.equal(service.learner.hyperparameters["h"], hyperparameters)
                    assert service.state.incarnation == 2
            swarm.introduce()
            swarm.run()
            members = list(swarm.members)
            await swarm.until(lambda: len(swarm.of(EpochEntered)) >= 3)
            await swarm.ticks(60, *members)
            epochs = {event.epoch for _, event in swarm.of(EpochEntered)}
            for service in members:
                await swarm.kill(service)
            before = []
            for number in range(3):
                with StateDirectory(tmp_path / str(number)) as state:
                    kept = state.checkpoint
                    assert kept is not None
                    assert kept.values["ticks"] >= 60 * (life + 1) - 5
                    assert kept.epoch in epochs

                before.append(unpack(kept.tensors)["learner.hyperparameters.h"])
            for hyperparameters, problem in zip(before, problems, strict=True):
                assert not torch.equal(hyperparameters, problem.hyperparameters["h"]), "they had moved"


async def test_a_bug_in_keeping_surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    async with group() as swarm:
        one = await swarm.add(quadratics(1)[0], "one", founder=True, settings=OFTEN)

        def fail(_: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(one.state, "keep_checkpoint", fail)
        swarm.run()
        with pytest.raises(RuntimeError, match="a bug"):
            await swarm.ticks(1000, one)
        swarm._runs.clear()
        swarm.members.clear()
        await one.transport.close()
