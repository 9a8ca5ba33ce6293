"""The runtime on real sockets: the same agents, loopback links, worker threads."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from peer.assembly import decode, encode
from peer.events import EpochEntered, PeerDeparted
from peer.quadratic import QuadraticProblem, closed_form
from peer.service import ASKED_MAX, AgentService
from peer.settings import AgentSettings
from peer.swarm import learn
from peer.until import Ending
from wire import DecodeError, FaultPlan, Push, encode_push

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SETTINGS = AgentSettings(
    tick_s=0.005,
    model_step_size=0.3,
    adjoint_step_size=0.3,
    momentum=0.5,
    wire_dtype="float64",
    warm_up_ticks=10,
    evaluate_every=0,
)
LIMIT_S = 60.0  # far more than any of these takes; a hang must fail, not wait


def quadratics(count: int) -> list[QuadraticProblem]:
    generator = torch.Generator().manual_seed(0)
    return [
        QuadraticProblem.random(generator, dimension=4, condition=4, hyper_dimension=2) for _ in range(count)
    ]


@asynccontextmanager
async def services(
    problems: list[Any],
    *,
    faults: FaultPlan | None = None,
    founder: bool = True,
    settings: AgentSettings = SETTINGS,
) -> AsyncIterator[tuple[list[AgentService], list[tuple[str, Any]]]]:
    events: list[tuple[str, Any]] = []
    torch.set_num_threads(1)
    with ThreadPoolExecutor(2) as executor:
        started = [
            AgentService(
                problem,
                settings,
                peer=f"agent-{number}",
                swarm="test",
                seed=0,
                founder=founder,
                executor=executor,
                faults=faults,
                on_event=lambda peer, event: events.append((peer, event)),
            )
            for number, problem in enumerate(problems)
        ]
        try:
            for service in started:
                await service.start()
            yield started, events
        finally:
            await asyncio.gather(*(service.close() for service in started))


def introduce(group: list[AgentService]) -> None:
    for one in group:
        for other in group:
            one.meet(other.record)


def error(service: AgentService, truth: torch.Tensor) -> float:
    return float((service.agent.solver.model.estimate - truth).norm() / truth.norm())


async def learn_until(group: list[AgentService], reached: Callable[[], bool]) -> None:
    """Run until the condition holds; fail if it never does."""
    stop = asyncio.Event()
    async with asyncio.timeout(LIMIT_S):
        await learn(group, Ending(), stop, lambda _: stop.set() if reached() else None)


async def test_a_swarm_on_real_sockets_reaches_the_closed_form() -> None:
    """Reference: DESIGN (4)-(9), 20 % silent loss. The same bound as in virtual time."""
    problems = quadratics(4)
    truth = closed_form(problems)
    async with services(problems, faults=FaultPlan(drop=0.2, delay_s=0.002)) as (group, _):
        introduce(group)
        await learn_until(group, lambda: all(error(service, truth.model) < 1e-6 for service in group))
        for service, hypergradient in zip(group, truth.hypergradients, strict=True):
            counters = service.transport.counters
            assert counters.sent > 0
            assert counters.received > 0
            assert counters.lost_by_faults > 0
            assert counters.unsent == 0
            assert not counters.rejected
            found = service.learner.hypergradient["h"]
            assert float((found - hypergradient).norm() / hypergradient.norm()) < 1e-3


async def test_survivors_reach_their_own_closed_form() -> None:
    """Reference: DESIGN (Epochs): a crashed agent's mass is left behind in the old epoch."""
    problems = quadratics(4)
    async with services(problems) as (group, events):
        introduce(group)
        await learn_until(group, lambda: min(service.agent.ticks for service in group) > 20)
        dead, *survivors = group
        await dead.close()
        for service in survivors:
            service.part(dead.record.peer)
        truth = closed_form(problems[1:]).model
        await learn_until(survivors, lambda: all(error(service, truth) < 1e-6 for service in survivors))
        assert {peer for peer, event in events if isinstance(event, PeerDeparted)} == {
            service.record.peer for service in survivors
        }
        assert min(service.agent.epoch for service in survivors) >= 2


async def test_one_address_is_enough_to_find_each_other() -> None:
    """Whoever receives a message learns from it where its sender listens."""
    problems = quadratics(2)
    truth = closed_form(problems).model
    async with services(problems, founder=False) as (group, events):
        group[0].meet(group[1].record)
        await learn_until(group, lambda: all(error(service, truth) < 1e-6 for service in group))
        reasons = {event.reason for _, event in events if isinstance(event, EpochEntered)}
        assert "nobody heard" in reasons
        assert reasons & {"joined", "heard of it", "membership"}


async def test_a_peer_just_gone_is_not_brought_back_by_a_late_message() -> None:
    problems = quadratics(2)
    async with services(problems) as (group, _):
        one, other = group
        introduce(group)
        await learn_until(group, lambda: min(service.agent.ticks for service in group) > 5)
        one.part(other.record.peer)
        assert one.agent.peers.alive() == []
        with pytest.raises(DecodeError, match="is not known"):
            one._on_frame(_message(other))
        assert one.agent.peers.alive() == []
        assert not one._asking


async def test_peers_cut_off_from_each_other_find_each_other_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.service.HOLD_OFF_S", 0.05)
    problems = quadratics(2)
    truth = closed_form(problems).model
    async with services(problems) as (group, events):
        introduce(group)
        await learn_until(group, lambda: min(service.agent.ticks for service in group) > 5)
        group[0].part(group[1].record.peer)
        group[1].part(group[0].record.peer)
        await learn_until(group, lambda: all(error(service, truth) < 1e-6 for service in group))
        assert sum(isinstance(event, PeerDeparted) for _, event in events) == 2


async def test_who_answers_at_a_known_address_replaces_who_was_there() -> None:
    """A process restarted on the same port is a new identity; the old one must not stay an out-neighbour."""
    async with services(quadratics(2)) as (group, _):
        one, other = group
        ghost = replace(other.record, peer="ghost")
        one.meet(ghost)
        one.meet(other.record)
        assert one.agent.peers.alive() == [other.record.peer]


async def test_a_stranger_is_let_in_only_if_it_answers_where_it_says_it_listens() -> None:
    async with services(quadratics(2)) as (group, _):
        one, other = group
        nowhere = replace(decode(_message(other)), sender="nobody", address="127.0.0.1:9")
        for frame in (encode(nowhere), _message(other)):
            with pytest.raises(DecodeError, match="is not known"):
                one._on_frame(frame)
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(*one._asking.values())
        assert one.agent.peers.alive() == [other.record.peer]
        one._on_frame(_message(other))
        assert one.agent.inbox.counters.received == 1


async def test_invented_names_cost_neither_tasks_nor_links() -> None:
    async with services(quadratics(2)) as (group, _):
        one, other = group
        honest = decode(_message(other))
        for number in range(300):
            with pytest.raises(DecodeError):
                one._on_frame(
                    encode(replace(honest, sender=f"name-{number}", address=f"127.0.0.1:{number + 1}"))
                )
        assert len(one._asking) <= ASKED_MAX
        assert not one.transport.per_peer


def _message(service: AgentService) -> bytes:
    """One honest message of this agent, as bytes."""
    identity = service.agent.identity
    lengths = service.agent.solver.array_lengths(0)
    return encode(
        Push(
            identity.swarm,
            identity.fingerprint,
            identity.peer,
            identity.incarnation,
            epoch=1,
            block=0,
            sequence=10**6,
            tick=1,
            tick_interval_s=0.01,
            address=identity.address,
            arrays=tuple(torch.zeros(length, dtype=torch.float64) for length in lengths),
        )
    )


async def test_learning_never_runs_on_the_event_loop() -> None:
    threads: set[int] = set()

    class Watched(QuadraticProblem):
        def derivatives(self, *arguments: Any) -> Any:  # type: ignore[override]
            threads.add(threading.get_ident())
            return super().derivatives(*arguments)

    generator = torch.Generator().manual_seed(0)
    problem = Watched.random(generator, dimension=3, hyper_dimension=1)
    async with services([problem]) as (group, _):
        await learn_until(group, lambda: group[0].agent.ticks > 10)
    assert threads
    assert threading.get_ident() not in threads


async def test_a_bug_while_learning_ends_the_run_with_its_own_error() -> None:
    class Broken(QuadraticProblem):
        def derivatives(self, *arguments: Any) -> Any:  # type: ignore[override]
            raise ZeroDivisionError("a bug in the task")

    problem = Broken.random(torch.Generator().manual_seed(0), dimension=3, hyper_dimension=1)
    async with services([problem]) as (group, _):
        with pytest.raises(ZeroDivisionError, match="a bug in the task"):
            await learn_until(group, lambda: False)


async def test_nothing_is_left_running() -> None:
    before = asyncio.all_tasks()
    async with services(quadratics(3)) as (group, _):
        introduce(group)
        await learn_until(group, lambda: min(service.agent.ticks for service in group) > 5)
    assert asyncio.all_tasks() == before


async def test_garbage_is_counted_by_reason_and_changes_nothing() -> None:
    problems = quadratics(2)
    async with services(problems) as (group, _):
        introduce(group)
        stranger = _message(group[1])
        group[0].transport.connect("self", group[0].record.address)  # a client that says what it likes
        for frame in (b"", b"HP", stranger[:-3], encode_push(_foreign())):
            group[0].transport.send(["self"], 0, frame)
            received = group[0].transport.counters.received
            async with asyncio.timeout(LIMIT_S):
                while group[0].transport.counters.received == received:
                    await asyncio.wait([asyncio.create_task(asyncio.to_thread(int))])
        assert group[0].transport.counters.rejected == {"malformed": 3, "wrong_swarm": 1}
        assert group[0].agent.inbox.counters.received == 0


def _foreign() -> Any:
    return Push("another", "model", "somebody", 0, 1, 0, 1, 1, 0.1, "", ())
