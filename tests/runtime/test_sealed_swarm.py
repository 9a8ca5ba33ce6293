"""Agents with keys: who is let in, what is refused and why, and what a restart keeps."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from peer.assembly import decode
from peer.errors import SettingError, StateError
from peer.events import EpochEntered
from peer.state import StateDirectory, ephemeral
from tests.runtime.agents import alive, group, message, overhear, push, quadratics, rejected, ring
from wire import Heartbeat

if TYPE_CHECKING:
    from pathlib import Path

    from peer.service import AgentService


async def test_a_sealed_swarm_learns_and_says_nothing_in_the_clear() -> None:
    problems = quadratics(3)
    frames: list[bytes] = []
    async with group() as swarm:
        for number, problem in enumerate(problems):
            overhear(await swarm.add(problem, f"agent-{number}", keys=ring(1)), frames.append)
        swarm.introduce()
        swarm.run()
        await swarm.learned(problems)
        assert not any(rejected(service) for service in swarm.members)
    assert frames
    assert {frame[:2] for frame in frames} == {b"HS"}
    assert not any(b"agent-" in frame for frame in frames)


@pytest.mark.parametrize(
    ("stranger", "reason"),
    [({}, "unencrypted"), ({"keys": ring(2)}, "wrong_key"), ({"keys": ring(1)}, "not_allowed")],
    ids=["no key", "another key", "not in the list"],
)
async def test_who_is_not_let_in_is_refused_by_name(stranger: dict[str, object], reason: str) -> None:
    """It is at work and knows everybody; the swarm learns as if it were not there."""
    problems = quadratics(3)
    friends = [ephemeral(bytes([number]) * 32) for number in range(2)]
    allowed = frozenset(state.identity.fingerprint for state in friends)
    async with group() as swarm:
        members = [
            await swarm.add(problem, f"agent-{n}", state=state, keys=ring(1), allowed=allowed)
            for n, (problem, state) in enumerate(zip(problems, friends, strict=False))
        ]
        other = await swarm.add(problems[2], "stranger", **stranger)
        for one in (*members, other):
            for known in members:
                one.meet(known.record)
        swarm.run()
        await swarm.until(lambda: all(rejected(service).get(reason, 0) > 20 for service in members))
        await swarm.learned(problems[:2], *members)
        for service in members:
            assert set(rejected(service)) == {reason}
            assert other.record.peer not in (*alive(service), *service.agent.membership.liveness.lives)


async def test_nothing_is_taken_of_what_members_tell_of_those_not_in_the_list() -> None:
    """A friend that does lie may not fill the swarm with names."""
    friends = [ephemeral(bytes([number]) * 32) for number in range(2)]
    allowed = frozenset(state.identity.fingerprint for state in friends)
    async with group() as swarm:
        one, friend = [
            await swarm.add(problem, f"agent-{n}", state=state, keys=ring(1), allowed=allowed)
            for n, (problem, state) in enumerate(zip(quadratics(2), friends, strict=True))
        ]
        names = ["no-name", f"ghost-{'a' * 20}", f"agent-0-{friends[0].identity.fingerprint}"]
        told = replace(
            decode(message(friend)),
            arrays=(),
            targets=(),
            digest=(
                Heartbeat(friend.record.peer, friend.state.incarnation, 1),
                *(Heartbeat(name, 0, 1) for name in names),
            ),
        )
        found = one.seal.unwrap(friend.seal.wrap(told, 2))
        assert [heartbeat.peer for heartbeat in found.digest] == [friend.record.peer, names[-1]]
        assert replace(found, digest=told.digest) == told, "and nothing else is changed"


async def test_nobody_speaks_under_the_name_of_another() -> None:
    """Not under that of another member, and not under two of its own."""
    async with group() as swarm:
        one, other, liar = [
            await swarm.add(problem, f"agent-{n}", keys=ring(1)) for n, problem in enumerate(quadratics(3))
        ]
        honest = decode(message(liar))
        for sender in (other.record.peer, "agent-2"):
            await push(swarm, one, liar.seal.wrap(replace(honest, sender=sender), 1))
        assert rejected(one) == {"wrong_identity": 2}
        beacon = replace(honest, arrays=(), targets=())
        await push(swarm, one, liar.seal.wrap(beacon, 2))
        second = f"second-{liar.state.identity.fingerprint}"
        await push(swarm, one, liar.seal.wrap(replace(beacon, sender=second), 2))
        assert rejected(one) == {"wrong_identity": 3}
        assert list(one.agent.membership.liveness.lives) == [liar.record.peer]


async def test_an_altered_or_a_repeated_frame_is_refused() -> None:
    async with group() as swarm:
        one, other = [
            await swarm.add(problem, f"agent-{n}", keys=ring(1)) for n, problem in enumerate(quadratics(2))
        ]
        frame = other.seal.wrap(replace(decode(message(other)), arrays=()), 1)
        await push(swarm, one, frame[:-1] + bytes([frame[-1] ^ 1]))
        await push(swarm, one, frame)
        await push(swarm, one, frame)
        assert rejected(one) == {"wrong_key": 1, "replayed": 1}


async def test_what_was_recorded_before_a_restart_has_no_effect_after_it(tmp_path: Path) -> None:
    problems = quadratics(2)
    frames: list[bytes] = []
    async with group() as swarm:
        one, _ = [
            await swarm.add(
                problem, f"agent-{n}", keys=ring(1), state=StateDirectory(tmp_path / str(n)), founder=True
            )
            for n, problem in enumerate(problems)
        ]
        overhear(one, frames.append)
        swarm.introduce()
        swarm.run()
        await swarm.learned(problems)
        await swarm.stop(*swarm.members)
        back = await swarm.add(problems[0], "agent-0", keys=ring(1), state=StateDirectory(tmp_path / "0"))
        before = back.agent.solver.model.estimate.clone()
        recorded = frames[-50:]
        for frame in recorded:
            await push(swarm, back, frame)
        assert rejected(back) == {"replayed": len(recorded)}
        assert back.agent.inbox.counters.received == back.agent.epoch == 0
        assert not alive(back)
        assert not back.agent.membership.liveness.lives
        assert (back.agent.solver.model.estimate == before).all()


async def test_who_is_killed_comes_back_as_the_same_one_and_in_no_epoch_twice(tmp_path: Path) -> None:
    """Again and again, and somebody repeats to it all that it ever heard. DESIGN (Epochs)."""
    problems = quadratics(3)
    frames: list[bytes] = []
    names, incarnations = set(), []
    async with group() as swarm:
        others = [
            await swarm.add(problem, f"agent-{n}", keys=ring(1)) for n, problem in enumerate(problems[1:])
        ]
        swarm.introduce()
        swarm.run()
        for _ in range(3):
            back = await swarm.add(problems[0], "back", keys=ring(1), state=StateDirectory(tmp_path))
            names.add(back.record.peer)
            incarnations.append(back.record.incarnation)
            for other in others:
                back.find(other.record)
            swarm.run(back)
            await swarm.ticks(1, back)
            for frame in frames[-50:]:
                await push(swarm, back, frame)
            overhear(back, frames.append)
            await swarm.learned(problems)
            crash(back)
            await swarm.kill(back)
        epochs = [event.epoch for name, event in swarm.of(EpochEntered) if name in names]
        assert len(names) == 1
        assert incarnations == [1, 2, 3]
        assert all(earlier < later for earlier, later in itertools.pairwise(epochs))
        assert len(epochs) >= 3
        await swarm.learned(problems[1:], *others)


def crash(service: AgentService) -> None:
    """It keeps nothing any more."""
    service.state.persist_replay = lambda marks: None  # type: ignore[method-assign]


async def test_a_state_is_of_one_agent_at_a_time(tmp_path: Path) -> None:
    async with group() as swarm:
        await swarm.add(quadratics(1)[0], "agent-0", state=StateDirectory(tmp_path))
        with pytest.raises(StateError, match=f"{tmp_path} is in use by process {os.getpid()}"):
            StateDirectory(tmp_path)
    StateDirectory(tmp_path).close()


async def test_with_keys_a_name_must_hold_the_identity() -> None:
    async with group() as swarm:
        with pytest.raises(SettingError, match="peer: 'me' is not possible; end the name with -"):
            await swarm.add(quadratics(1)[0], "me", keys=ring(1), peer="me")


async def test_who_ends_with_a_full_disk_says_so_and_lets_its_state_go(tmp_path: Path) -> None:
    """It ended with an error before its results were shown."""
    said: list[str] = []

    def full(marks: object) -> None:
        raise StateError("state: no space left")

    async with group() as swarm:
        one, other = [
            await swarm.add(
                problem,
                f"agent-{n}",
                keys=ring(1),
                state=StateDirectory(tmp_path / str(n)),
                on_problem=said.append,
            )
            for n, problem in enumerate(quadratics(2))
        ]
        await push(swarm, one, other.seal.wrap(decode(message(other)), 1))
        one.state.persist_replay = full  # type: ignore[method-assign]
        await swarm.stop(one)
        StateDirectory(tmp_path / "0").close()
    assert said == ["state: no space left; what came since it was written may be taken again after a restart"]
