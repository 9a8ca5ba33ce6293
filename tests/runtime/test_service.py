"""The runtime on real sockets: the same agents, loopback links, worker threads."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from peer.assembly import decode, encode
from peer.events import PeerDeparted
from peer.quadratic import QuadraticProblem, closed_form
from peer.reaching import ASKED_MAX
from peer.running import Running
from peer.swarm import learn
from peer.until import Ending
from tests.runtime.agents import (
    LIMIT_S,
    Group,
    alive,
    group,
    hypergradient_error,
    message,
    overhear,
    push,
    quadratics,
    rejected,
)
from wire import FaultPlan, Push, encode_push
from wire.slots import TARGETS_MAX

if TYPE_CHECKING:
    from peer.service import AgentService


async def started(swarm: Group, problems: list[Any], **options: Any) -> list[AgentService]:
    """One agent per problem, each knowing of all, at work."""
    found = [
        await swarm.add(problem, f"agent-{number}", **{"founder": True, **options})
        for number, problem in enumerate(problems)
    ]
    swarm.introduce()
    swarm.run()
    return found


async def test_a_swarm_on_real_sockets_reaches_the_closed_form() -> None:
    """Reference: DESIGN (4)-(9), 20 % silent loss. The same bound as in virtual time."""
    problems = quadratics(4)
    truth = closed_form(problems)
    async with group() as swarm:
        found = await started(swarm, problems, faults=FaultPlan(drop=0.2, delay_s=0.002))
        await swarm.learned(problems)
        for service, hypergradient in zip(found, truth.hypergradients, strict=True):
            counters = service.transport.counters
            assert counters.sent > 0
            assert counters.received > 0
            assert counters.lost_by_faults > 0
            assert counters.unsent == 0
            assert not counters.rejected
            assert hypergradient_error(service, hypergradient) < 1e-3


async def test_survivors_of_a_silent_death_reach_their_own_closed_form() -> None:
    """Reference: DESIGN (Epochs, Liveness): heartbeats alone tell, the dead one's mass is left behind."""
    problems = quadratics(4)
    async with group() as swarm:
        dead, *survivors = await started(swarm, problems)
        await swarm.ticks(30)
        await swarm.kill(dead)
        await swarm.learned(problems[1:], *survivors)
        assert all(dead.record.peer not in alive(service) for service in survivors)
        departed = {(peer, event.peer) for peer, event in swarm.of(PeerDeparted)}
        assert departed == {(service.record.peer, dead.record.peer) for service in survivors}
        assert min(service.agent.epoch for service in survivors) >= 2


async def test_a_goodbye_is_noted_at_once() -> None:
    """Silence takes `expire_ticks`, 60 here; a goodbye the time of a tick, or of a few on a busy machine."""
    problems = quadratics(3)
    async with group() as swarm:
        leaver, *others = await started(swarm, problems)
        await swarm.ticks(30)
        beats = [service.agent.membership.liveness.heartbeat for service in others]
        await swarm.stop(leaver)
        await swarm.until(lambda: all(leaver.record.peer not in alive(service) for service in others))
        for service, beat in zip(others, beats, strict=True):
            assert service.agent.membership.liveness.heartbeat - beat < 30
            assert service.agent.membership.liveness.lives[leaver.record.peer].left
        await swarm.learned(problems[1:], *others)


async def test_one_address_is_enough_to_find_each_other() -> None:
    """Whoever receives a message learns from it where its sender listens."""
    problems = quadratics(2)
    async with group() as swarm:
        one, other = [await swarm.add(problem, f"agent-{n}") for n, problem in enumerate(problems)]
        one.find(other.record)
        swarm.run()
        await swarm.learned(problems)
        assert other.transport.address_of(one.record.peer) == one.record.address


async def test_what_discovery_says_takes_no_working_way_from_anybody() -> None:
    """Whoever is on the network may announce what he likes. What is not for a peer, it refuses itself."""
    async with group() as swarm:
        one, other = await started(swarm, quadratics(2))
        peer, address = other.record.peer, other.record.address
        await swarm.until(lambda: one.transport.per_peer[peer].sent > 0)
        one.find(replace(other.record, address="127.0.0.1:9"))
        one.find(replace(other.record, peer="ghost"))
        assert one.transport.address_of(peer) == address
        assert one.transport.address_of("ghost") == address


async def test_a_way_that_leads_nowhere_is_given_up_for_what_discovery_says() -> None:
    async with group() as swarm:
        one, other = await started(swarm, quadratics(2))
        peer = other.record.peer
        await swarm.kill(other)
        await swarm.until(lambda: one.transport.per_peer[peer].unreachable_since is not None)
        one.find(replace(other.record, address="127.0.0.1:9"))
        assert one.transport.address_of(peer) == "127.0.0.1:9"


async def test_a_record_of_another_incarnation_makes_a_new_epoch() -> None:
    """Whoever comes back has other mass than before."""
    async with group() as swarm:
        one, other = await started(swarm, quadratics(2))
        await swarm.ticks(30)
        before = one.agent.epoch
        one.meet(replace(other.record, incarnation=other.record.incarnation + 1))
        await swarm.until(lambda: one.agent.epoch > before)


async def test_learning_never_runs_on_the_event_loop() -> None:
    threads: set[int] = set()

    class Watched(QuadraticProblem):
        def derivatives(self, *arguments: Any) -> Any:  # type: ignore[override]
            threads.add(threading.get_ident())
            return super().derivatives(*arguments)

    problem = Watched.random(torch.Generator().manual_seed(0), dimension=3, hyper_dimension=1)
    async with group() as swarm:
        await started(swarm, [problem])
        await swarm.ticks(10)
    assert threads
    assert threading.get_ident() not in threads


async def test_a_bug_while_learning_ends_the_run_with_its_own_error() -> None:
    class Broken(QuadraticProblem):
        def derivatives(self, *arguments: Any) -> Any:  # type: ignore[override]
            raise ZeroDivisionError("a bug in the task")

    problem = Broken.random(torch.Generator().manual_seed(0), dimension=3, hyper_dimension=1)
    async with group() as swarm:
        service = await swarm.add(problem, "agent-0", founder=True)
        with pytest.raises(ZeroDivisionError, match="a bug in the task"):
            async with asyncio.timeout(LIMIT_S):
                await learn(Running([service]), Ending(), asyncio.Event(), lambda _: None)


async def test_a_stop_that_comes_before_the_run_has_begun_counts() -> None:
    async with group() as swarm:
        service = await swarm.add(quadratics(1)[0], "agent-0", founder=True)
        service.stop()
        async with asyncio.timeout(LIMIT_S):
            await service.run()


async def test_a_paused_agent_does_nothing_and_hears_nothing_and_then_goes_on() -> None:
    """As a stopped process: the others take it for dead, it judges nobody by that time, all end together."""
    problems = quadratics(3)
    async with group() as swarm:
        paused, *others = await started(swarm, problems)
        await swarm.ticks(30)
        paused.pause(LIMIT_S)
        await swarm.until(lambda: paused._computation is None)
        sent, ticks = paused.transport.counters.sent, paused.agent.ticks
        await swarm.until(lambda: all(paused.record.peer not in alive(service) for service in others))
        assert paused.agent.ticks == ticks
        assert paused.transport.counters.sent <= sent + len(others)  # what waited already
        assert len(alive(paused)) == 2
        paused.pause(0.0)
        await swarm.learned(problems)
        assert not [event for peer, event in swarm.of(PeerDeparted) if peer == paused.record.peer]


async def test_an_agent_whose_clock_jumps_ahead_has_slept_and_takes_nobody_for_dead() -> None:
    problems = quadratics(3)
    ahead_s = 0.0
    async with group() as swarm:
        for number, problem in enumerate(problems):
            await swarm.add(
                problem,
                f"agent-{number}",
                founder=True,
                clock=time.monotonic if number else lambda: time.monotonic() + ahead_s,
            )
        swarm.introduce()
        swarm.run()
        await swarm.learned(problems)
        ahead_s = 3600.0
        await swarm.ticks(100)
        assert not [event for peer, event in swarm.of(PeerDeparted) if peer == "agent-0"]
        await swarm.learned(problems)


async def test_while_a_disk_takes_its_time_others_are_heard_and_nothing_of_the_epoch_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The number of an epoch is durable before anything of it is sent."""
    writing, written = threading.Event(), threading.Event()
    async with group() as swarm:
        one, other = await started(swarm, quadratics(2))
        persist = one.state.persist_epoch

        def slowly(epoch: int) -> None:
            writing.set()
            assert written.wait(LIMIT_S / 4), "the loop stands still"
            persist(epoch)

        monkeypatch.setattr(one.state, "persist_epoch", slowly)
        await swarm.add(quadratics(1)[0], "agent-2")
        swarm.members[2].meet(one.record)
        swarm.run(swarm.members[2])
        for service in (one, other):
            service.meet(swarm.members[2].record)
        await swarm.until(writing.is_set)
        sent, before, received = one.transport.counters.sent, one.state.epoch, one.transport.counters.received
        await swarm.until(lambda: one.transport.counters.received > received + 20)
        assert one.agent.epoch > before == one.state.epoch
        assert one.transport.counters.sent <= sent + len(swarm.members)  # what waited already
        written.set()
        await swarm.until(lambda: one.transport.counters.sent > sent + 20)
        assert one.state.epoch > before


async def test_frames_are_of_a_version_that_the_receiver_reads() -> None:
    """Reference: codec.py: two versions in one swarm. The old one reads version 1 only, and all learn."""
    problems = quadratics(3)
    versions: dict[str, set[int]] = {}
    async with group() as swarm:
        found = [await swarm.add(problem, f"agent-{n}", founder=True) for n, problem in enumerate(problems)]
        old, *others = found
        old.record = replace(old.record, protocol=1, oldest=1)
        old._reacher.start(old.record)
        for service in found:
            overhear(
                service,
                lambda frame, service=service: versions.setdefault(service.record.peer, set()).add(frame[2]),
            )
        swarm.introduce()
        swarm.run()
        await swarm.learned(problems)
        assert versions.pop(old.record.peer) == {1}
        assert all(2 in seen for seen in versions.values())
        assert not any(rejected(service) for service in others)


async def test_invented_names_are_bounded_and_give_way_to_members() -> None:
    async with group() as swarm:
        one, other = [await swarm.add(problem, f"agent-{n}") for n, problem in enumerate(quadratics(2))]
        stranger = replace(decode(message(other)), arrays=(), address="127.0.0.1:9")
        for number in range(TARGETS_MAX + 100):
            one._on_frame(encode(replace(stranger, sender=f"name-{number}"), 1))
            await one._perform()
        assert len(one.transport.per_peer) <= TARGETS_MAX
        assert len(one._reacher._known) <= TARGETS_MAX
        one._reacher.work(time.monotonic())
        assert len(one._reacher._asking) == ASKED_MAX
        swarm.run()
        await swarm.until(lambda: one.find(other.record))
        await swarm.until(lambda: alive(one) == [other.record.peer])


async def test_garbage_is_counted_by_reason_and_changes_nothing() -> None:
    async with group() as swarm:
        one, other = [await swarm.add(problem, f"agent-{n}") for n, problem in enumerate(quadratics(2))]
        stranger = message(other)
        for frame in (b"", b"HP", stranger[:-3], encode_push(_foreign()), stranger):
            await push(swarm, one, frame)
        assert rejected(one) == {"malformed": 3, "wrong_swarm": 1, "unknown_sender": 1}
        assert one.agent.inbox.counters.received == 0


def _foreign() -> Any:
    return Push("another", "model", "somebody", 0, 1, 0, 1, 1, 0.1, "", ())
