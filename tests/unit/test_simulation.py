"""The simulator: order of events, links that fail, members that come and go, bad arguments."""

from __future__ import annotations

import dataclasses
import itertools
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

import peer
import wire
from peer import assembly
from peer.events import EpochEntered, PeerArrived, PeerDeparted
from peer.settings import AgentSettings
from peer.simulation import Clock, Simulation
from peer.storage import ProcessEndedError, Storage
from peer.templates import tabular
from tests.unit.driving import push, settings, start
from wire import EncodeError, Push

if TYPE_CHECKING:
    from peer.virtual_swarm import Swarm

TICK_S = 0.05


class NoCodec:
    """Messages as they are, behind ten bytes of their number."""

    def __init__(self) -> None:
        self.encoded: list[Push[Any]] = []

    def encode(self, push: Push[Any]) -> bytes:
        self.encoded.append(push)
        return b"%010d" % (len(self.encoded) - 1)

    def decode(self, frame: bytes) -> Push[Any]:
        return self.encoded[int(frame)]


def simulation(faults: wire.FaultPlan | None = None, **more: Any) -> Simulation[Any]:
    return Simulation(faults=faults or wire.FaultPlan(), seed=0, codec=NoCodec(), **more)


def test_events_happen_in_the_order_of_time_and_then_of_being_scheduled() -> None:
    world, seen = simulation(), []
    for time, name in ((2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b")):
        world.at(time, lambda name=name: seen.append((world.now, name)))
    world.at(1.0, lambda: world.at(0.5, lambda: seen.append((world.now, "late"))))
    world.run_until(1.5)
    assert seen == [(1.0, "a"), (1.0, "b"), (1.0, "late")]
    assert world.now == 1.5
    world.run_until(2.0)
    assert [name for _, name in seen[3:]] == ["c", "d"]


def test_messages_are_counted_by_what_became_of_them() -> None:
    world = simulation(wire.FaultPlan(windows=(wire.cut("b", "c", 0.0),), duplicate=1.0))
    one, other = start("b").agent, start("a").agent
    for agent, peers in ((one, ("a", "c")), (other, ("b",))):
        for name in peers:
            agent.peer_seen(name, 0, 0.0)
        world.start(agent)
    world.run_until(3.9)
    sent = world.counters["b"]
    assert one.ticks == 4
    assert (sent.sent, sent.bytes_sent, sent.lost) == (8, 80, 4)
    assert world.counters["a"].delivered == 8, "every one twice"
    world.kill("a")
    world.run_until(5.9)
    assert sent.undeliverable == 4
    assert sent.delivered == 8
    assert [world.storage.epoch(name) for name in "ab"] == [1, 1]


def test_every_link_has_its_own_luck() -> None:
    world = simulation(wire.FaultPlan(drop=0.5))
    one, targets = start("b").agent, [start(name).agent for name in ("a", "c")]
    for target in targets:
        one.peer_seen(target.identity.peer, 0, 0.0)
        target.peer_seen("b", 0, 0.0)
    for agent in (one, *targets):
        world.start(agent)
    gaps: list[tuple[int, ...]] = []
    for tick in range(40):
        world.run_until(float(tick))
        gaps.append(tuple(target.inbox.counters.received for target in targets))
    assert any(left != right for left, right in gaps)
    assert all(left > 5 and right > 5 for left, right in gaps[-1:])


def test_what_an_agent_refuses_is_counted_by_reason() -> None:
    world = simulation()
    one, deaf = start("b").agent, start("a").agent
    one.peer_seen("a", 0, 0.0)  # but a has not seen b
    world.start(one)
    world.start(deaf)
    world.run_until(1.9)
    assert world.counters["a"].rejected == {"unknown_sender": 2}
    world.run_until(4.9)
    assert world.counters["a"].rejected == {"unknown_sender": 2}, "a heartbeat that rises is believed"
    assert deaf.inbox.counters.received == 3


def test_news_reaches_only_those_who_run() -> None:
    events: list[tuple[float, str, object]] = []
    world = simulation(on_event=lambda *event: events.append(event))
    world.start(start("b").agent)
    world.tell_seen("b", "a", 3)
    world.tell_gone("b", "a", 2)
    assert events[1:] == [], "late news: incarnation 3 has come back"
    world.tell_gone("b", "a", 3)
    world.tell_seen("x", "a", 3)
    world.tell_gone("x", "a", 3)
    assert events == [(0.0, "b", PeerArrived("a", 3)), (0.0, "b", PeerDeparted("a"))]


def test_a_killed_agent_ticks_no_more() -> None:
    world = simulation()
    agent = start("b").agent
    world.start(agent)
    world.run_until(2.9)
    assert world.kill("b") is agent
    world.run_until(10.0)
    assert agent.ticks == 3


def pair(faults: wire.FaultPlan | None = None, **more: Any) -> tuple[Simulation[Any], Any, Any]:
    """Agents b and a, who tick once a second and know each other."""
    world = simulation(faults, **more)
    agents = start("b").agent, start("a").agent
    for agent, other in zip(agents, ("a", "b"), strict=True):
        agent.peer_seen(other, 0, 0.0)
        world.start(agent)
    return world, *agents


def test_an_agent_ticks_by_its_own_clock_which_may_drift_and_jump() -> None:
    world = simulation()
    one = start("b", tick_s=1.0).agent
    world.start(one, Clock(rate=2.0, ahead_s=100.0))
    world.run_until(9.9)
    assert one.ticks == pytest.approx(20, abs=1)
    before = one.next_deadline()
    assert before is not None
    assert 119.0 < before < 121.0
    world.jump("b", 50.0)
    world.run_until(10.4)
    after = one.next_deadline()
    assert after is not None
    assert 170.0 < after < 172.0
    world.run_until(19.9)
    assert one.ticks == pytest.approx(40, abs=2), "no tick is made up for"
    world.leave("b")


def test_what_no_agent_has_sent_can_be_injected() -> None:
    world, one, _ = pair()
    before = one.inbox.counters.received
    for target in ("b", "nobody"):
        world.inject(target, push("a", incarnation=0, sequence=99))
    assert one.inbox.counters.received == before + 1
    assert len(one.inbox) == 1


def test_who_says_goodbye_is_missed_at_once() -> None:
    events: list[tuple[float, str, object]] = []
    world, one, other = pair(on_event=lambda *event: events.append(event))
    world.run_until(4.9)
    world.leave("b")
    world.run_until(20.0)
    departed = [(when, who) for when, who, event in events if isinstance(event, PeerDeparted)]
    assert departed == [(4.9, "a")]
    assert (one.ticks, other.ticks) == (5, 20)
    assert set(world.nodes) == {"a"}


def test_a_paused_agent_does_nothing_and_wakes_to_all_that_came() -> None:
    """As a process under SIGSTOP: its timer and what waits in its sockets are seen to afterwards."""
    world, one, other = pair()
    world.run_until(2.9)
    world.pause("b", 4.0)
    world.tell_seen("b", "c", 0)
    world.run_until(6.8)
    assert (one.ticks, other.ticks) == (3, 6)
    assert one.inbox.counters.received == 3
    assert one.peers.alive() == ["a"], "it has not looked at the news yet"
    world.run_until(6.95)
    assert (one.ticks, one.inbox.counters.received) == (5, 7), "the tick that was due, and the next"
    assert one.peers.alive() == ["a", "c"]
    world.pause("b", 1.0)
    world.run_until(7.5)
    world.kill("b")
    world.run_until(20.0)
    assert (one.ticks, one.inbox.counters.received) == (5, 7), "killed in its sleep"


def test_a_computation_may_take_time_during_which_messages_come() -> None:
    world = simulation()
    one, other = start("b").agent, start("a").agent
    one.peer_seen("a", 0, 0.0)
    other.peer_seen("b", 0, 0.0)
    world.start(one, compute_s=0.5)
    world.start(other)
    world.run_until(1.3)
    assert one.ticks == other.ticks == 1
    assert one.inbox.counters.received == 1
    assert world.counters["b"].sent == 0
    assert one.next_deadline() is None
    world.run_until(1.4)
    assert world.counters["b"].sent == 1
    world.run_until(2.0)
    assert one.ticks == 2
    world.kill("b")
    world.run_until(9.0)
    assert world.counters["b"].sent == 1, "what a dead process computes is sent by nobody"


def test_who_leaves_while_its_disk_refuses_an_epoch_gives_that_up_and_says_goodbye() -> None:
    """As a real agent does; in the simulator it once left without a word."""

    class Full(Storage[Any]):
        def keep_epoch(self, peer: str, epoch: int) -> tuple[bool, float]:
            return (True, 0.0) if peer == "a" else (False, 1.0)

    world, one, other = pair()
    world.storage = Full()
    world.run_until(4.9)
    assert world.counters["b"].sent == 0
    assert other.peers.alive() == ["b"]
    world.leave("b")
    world.run_until(5.0)
    assert one.epoch == 1
    codec = world._codec
    assert isinstance(codec, NoCodec)
    said = [push for push in codec.encoded if push.sender == "b"]
    assert [push.epoch for push in said] == [0] * 3
    assert all(push.digest[0].left and not push.arrays for push in said)
    assert other.peers.alive() == []


def test_who_leaves_may_be_ended_by_its_disk() -> None:
    class Broken(Storage[Any]):
        def keep_epoch(self, peer: str, epoch: int) -> tuple[bool, float]:
            if peer == "b" and world.now > 4.0:
                raise ProcessEndedError
            return peer == "a", 1.0

    world, one, _ = pair()
    world.storage = Broken()
    ended: list[str] = []
    world.on_death = ended.append
    world.run_until(3.9)
    world.pause("b", 9.0)
    world.run_until(4.9)
    world.leave("b")
    assert ended == ["b"]
    assert set(world.nodes) == {"a"}
    assert world.counters["b"].sent == 0, "it could say nothing any more"
    assert one.epoch == 1


def test_newer_messages_replace_those_that_wait_for_a_narrow_link() -> None:
    """80 bits at 32 bit/s keep the link busy for 2.5 s; b pushes once a second. The links of a are wide."""
    narrow = wire.FaultPlan(links={("b", "a"): wire.LinkFaults(bandwidth_bits_per_s=32.0)})
    world, one, other = pair(narrow)
    arrivals: list[float] = []
    for tenth in range(101):
        world.run_until(tenth / 10)
        if world.counters["a"].delivered > len(arrivals):
            arrivals.append(tenth / 10)
    assert [later - earlier for earlier, later in itertools.pairwise(arrivals)] == pytest.approx([2.5] * 3)
    sent = world.counters["b"]
    assert (sent.sent, sent.bytes_sent, sent.replaced) == (4, 40, one.ticks - 4 - 1)
    assert other.inbox.counters.gaps == other.inbox.links["b"].gaps > 0
    assert world.counters["a"].replaced == 0


def test_a_link_that_is_widened_is_looked_at_again() -> None:
    wide = wire.FaultWindow(20.0, math.inf, wire.FaultChange(bandwidth_bits_per_s=math.inf))
    world, _, _ = pair(wire.FaultPlan(bandwidth_bits_per_s=1.0, windows=(wide,)))
    world.run_until(19.9)
    assert world.counters["b"].sent == 1
    world.run_until(25.9)
    assert world.counters["b"].sent >= 1 + 6, "one for each second since, and perhaps what waited"
    assert world.nodes["b"].outbox.waiting("a") == 0


@pytest.mark.parametrize(
    ("stop", "sent"),
    [
        (lambda world: world.kill("b"), 1),
        (lambda world: world.leave("b"), 3),
        (lambda world: world.pause("b", 100.0), 1),
        (lambda world: world.pause("b", 5.0), 2),
    ],
    ids=["killed", "left", "paused", "paused for a while"],
)
def test_what_waits_for_a_link_goes_out_unless_the_agent_is_killed(stop: Any, sent: int) -> None:
    """Push and goodbye wait beside each other for the link, free again after 8 s, then after 16 s."""
    world, _, _ = pair(wire.FaultPlan(bandwidth_bits_per_s=10.0))
    world.run_until(4.9)
    stop(world)
    world.run_until(7.9)
    assert world.counters["b"].sent == 1
    world.run_until(17.0)
    assert world.counters["b"].sent == sent


def test_the_trace_covers_every_byte_sent_and_every_event() -> None:
    records: list[bytes] = []
    world = simulation(record=records.append)
    agent = start("b").agent
    agent.peer_seen("a", 0, 0.0)
    empty = world.digest()
    world.start(agent)
    world.run_until(0.9)
    kinds = [record[9:].split(b"|")[0] for record in records]
    assert kinds == [b"start", b"event", b"send", b"event"]
    assert records[2].endswith(b"0" * 10)
    assert world.digest() != empty


# ---- `simulate`


def problems(count: int = 2) -> list[peer.QuadraticProblem]:
    generator = torch.Generator().manual_seed(0)
    return [peer.QuadraticProblem.random(generator, dimension=4) for _ in range(count)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"problems": []}, "problems: 0 is not possible; give at least one problem, one per agent"),
        ({"ticks": 0}, "ticks: 0 is not possible; give a number above 0"),
        ({"ticks": float("inf")}, "ticks: inf is not possible"),
        ({"speeds": [1.0]}, "speeds: [1.0] is not possible; give 2 numbers above 0, one per agent"),
        ({"speeds": [1.0, 0.0]}, "speeds: [1.0, 0.0] is not possible; give 2 numbers above 0"),
        ({"notice_s": (2.0, 1.0)}, "notice_s: (2.0, 1.0) is not possible; give (shortest, longest) delay"),
        ({"notice_s": (-1.0, 1.0)}, "notice_s: (-1.0, 1.0) is not possible"),
        ({"scenario": [peer.Kill(2, 0.1)]}, "scenario[0].agent: 2 is not possible"),
        (
            {"scenario": [peer.Join(0, 9.0)]},
            "scenario: Join(agent=0, at_s=9.0) is not possible; let every agent",
        ),
        ({"momentum": 1.0}, "momentum: 1.0 is not possible; give 0 or more, and below 1"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_before_anything_runs(arguments: Any, told: str) -> None:
    records: list[bytes] = []
    chosen: dict[str, Any] = {"problems": problems(), "ticks": 10, "record": records.append, **arguments}
    with pytest.raises(peer.SettingError) as raised:
        peer.simulate(chosen.pop("problems"), **chosen)
    assert str(raised.value).startswith(told)
    assert records == []


def test_a_result_says_what_happened() -> None:
    result = peer.simulate(problems(3), ticks=20, seed=0, speeds=[1.0, 1.0, 2.0])
    assert [agent.id for agent in result.agents] == ["agent-0", "agent-1", "agent-2"]
    assert [agent.ticks for agent in result.agents] == pytest.approx([20, 20, 40], abs=2)
    assert result.messages == sum(agent.counters.sent for agent in result.agents)
    assert result.bytes == sum(agent.counters.bytes_sent for agent in result.agents)
    assert (result.ticks, result.virtual_s) == (20, 1.0)
    assert result.wall_s > 0
    assert all(isinstance(event, EpochEntered | PeerArrived) for _, _, event in result.events)
    assert all(agent.alive and agent.epoch == 1 for agent in result.agents)
    assert set(result.agents[0].model) == {"x"}
    assert result.agents[0].local == {}
    assert result.agents[0].metrics == {}


def test_metrics_are_those_of_the_end_and_a_frame_has_the_way_there() -> None:
    made = [tabular.problem(shard, 2, 0, peer.OutputBias()) for shard in range(2)]
    result = peer.simulate(made, ticks=27, evaluate_every=20, history=True)
    for agent, problem in zip(result.agents, made, strict=True):
        assert agent.metrics == problem.metrics(agent.model, agent.hyperparameters)
    frame = result.frame()
    assert list(frame["id"]) == ["agent-0", "agent-1"] * 3
    last = frame[frame["id"] == "agent-1"].iloc[-1]
    assert last["shared"] == result.agents[1].metrics["shared"]
    assert last["tick"] == result.agents[1].ticks > frame["tick"].iloc[0] > 0
    assert frame["training_loss"].notna().all()
    short = peer.simulate(made, ticks=27, evaluate_every=0)
    assert [view.id for view in short.views] == ["agent-0", "agent-1"]
    assert short.agents[0].metrics == {}
    assert peer.simulate(made, ticks=27, evaluate_every=0, history=True).digest == short.digest


def test_results_are_copies() -> None:
    swarm: list[Swarm] = []
    result = peer.simulate(problems(), ticks=9, progress=swarm.append)
    result.agents[0].model["x"].zero_()
    agent = swarm[0].members[0].agent
    assert agent is not None
    assert float(agent.solver.model.estimate.abs().sum()) > 0


def test_members_come_and_go() -> None:
    """Who starts tells everybody and is told of everybody; who is killed is missed."""
    result = peer.simulate(
        problems(4),
        ticks=120,
        tick_s=TICK_S,
        warm_up_ticks=5,
        scenario=[
            peer.Join(3, 20 * TICK_S),
            peer.Kill(0, 30 * TICK_S),
            peer.Kill(1, 30 * TICK_S),
            peer.Restart(0, 60 * TICK_S),
            peer.Restart(1, 60 * TICK_S, with_state=False),
        ],
        notice_s=(0.1, 0.3),
    )
    assert [agent.id for agent in result.agents] == ["agent-0", "agent-1+1", "agent-2", "agent-3"]
    assert all(agent.alive for agent in result.agents)
    assert len({agent.epoch for agent in result.agents}) == 1
    told = [(when, event) for when, who, event in result.events if who == "agent-2"]
    arrived = [(event.peer, event.incarnation) for _, event in told if isinstance(event, PeerArrived)]
    assert arrived[:3] == [("agent-0", 0), ("agent-1", 0), ("agent-3", 0)]
    assert sorted(arrived[3:]) == [("agent-0", 1), ("agent-1+1", 0)]
    gone = {event.peer: when for when, event in told if isinstance(event, PeerDeparted)}
    assert set(gone) == {"agent-0", "agent-1"}
    assert all(30 * TICK_S + 0.1 <= when <= 30 * TICK_S + 0.3 for when in gone.values())


def test_unequal_models_are_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    unequal = [peer.QuadraticProblem.random(generator, dimension=d) for d in (4, 5)]
    with pytest.raises(
        peer.ProblemError, match=r"problems\[1\]: its model is x:\(5,\).*give all the same names"
    ):
        peer.simulate(unequal, ticks=1)


def test_names_sort_as_numbers() -> None:
    result = peer.simulate(problems(11), ticks=1)
    assert [agent.id for agent in result.agents] == sorted(agent.id for agent in result.agents)


def test_a_dead_agent_s_last_state_is_reported() -> None:
    result = peer.simulate(problems(3), ticks=20, tick_s=TICK_S, scenario=[peer.Kill(1, 10 * TICK_S)])
    assert [agent.alive for agent in result.agents] == [True, False, True]
    assert result.agents[1].ticks < result.agents[0].ticks


def test_mixed_dtypes_come_back_as_they_are() -> None:
    class Mixed:
        model = {"a": torch.ones(2), "b": torch.ones(1, dtype=torch.float64)}  # noqa: RUF012  (structural)
        hyperparameters = {"h": torch.zeros(1)}  # noqa: RUF012  (structural)

        def inner_loss(self, model: Any, hyperparameters: Any, batch: object) -> torch.Tensor:
            return (model["a"].sum() - hyperparameters["h"].sum()) ** 2 + (model["b"] - 2).square().sum()

        def outer_loss(self, model: Any, hyperparameters: Any, batch: object) -> torch.Tensor:
            return model["a"].square().sum()

        def batches(self) -> Any:
            while True:
                yield None

    result = peer.simulate([Mixed(), Mixed()], ticks=100, model_step_size=0.1, momentum=0.5)
    for agent in result.agents:
        assert agent.model["a"].dtype == agent.adjoint["a"].dtype == torch.float32
        assert agent.model["b"].dtype == torch.float64
        assert float(agent.model["b"]) == pytest.approx(2.0, abs=1e-6)


# ---- assembly


def test_large_models_are_cut_so_that_every_message_fits() -> None:
    """Reference: DESIGN (Blocks): a model of any size, no message above the limit."""
    generator = torch.Generator().manual_seed(0)
    big = [peer.QuadraticProblem.random(generator, dimension=600) for _ in range(2)]
    sent: list[bytes] = []

    def keep(record: bytes) -> None:
        if record[9:].startswith(b"send"):
            sent.append(record)

    peer.simulate(big, ticks=3, block_bytes_max=16384, wire_dtype="float64", record=keep)
    assert sent
    assert max(len(record) for record in sent) <= 16384 + 30
    assert len({wire.decode_push(record[9 + len("send|agent-0|") :]).block for record in sent}) == 5


def test_agents_that_cannot_average_have_other_fingerprints() -> None:
    def made(problem: Any, **changes: Any) -> str:
        agent, _ = assembly.make_agent(
            problem, AgentSettings(**changes), peer="a", swarm="s", seed=0, now=0.0, founder=True
        )
        return agent.identity.fingerprint

    generator = torch.Generator().manual_seed(0)
    small, large = (peer.QuadraticProblem.random(generator, dimension=d) for d in (3, 4))
    assert made(small) == made(small, momentum=0.5, wire_dtype="float64", hyper_step_size=0.1)
    assert (
        len({made(small), made(large), made(small, solver="push-sum"), made(large, block_fraction=0.5)}) == 4
    )


def test_a_message_survives_the_codec() -> None:
    arrays = tuple(torch.tensor([1.0, 2.0 + i], dtype=torch.float64) for i in range(4))
    message = push("a", address="host:1", arrays=arrays, targets=(b"target-1",))
    again = assembly.decode(assembly.encode(message))
    assert all(torch.equal(left, right) for left, right in zip(again.arrays, arrays, strict=True))
    assert dataclasses.replace(again, arrays=()) == dataclasses.replace(message, arrays=())
    with pytest.raises(EncodeError):
        assembly.encode(dataclasses.replace(message, sender=""))


# ---- the package


def test_every_public_name_is_there_and_others_are_not() -> None:
    for name in peer.__all__:
        assert getattr(peer, name) is not None
    assert set(peer.__all__) <= set(dir(peer))
    with pytest.raises(AttributeError, match="module 'peer' has no attribute 'Nonsense'"):
        _ = peer.Nonsense


def test_settings_do_not_load_torch() -> None:
    program = "import sys, peer; peer.AgentSettings(); peer.Kill(0, 1.0); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_settings_of_these_tests_are_settings() -> None:
    assert settings().tick_s == 1.0


def test_what_an_agent_makes_of_a_message_may_be_nothing() -> None:
    world = simulation()
    world.start(start("a").agent)

    def arrival(peer: str, arrived: Push[Any]) -> Push[Any]:
        if arrived.sequence == 1:
            raise wire.DecodeError(wire.RejectReason.WRONG_KEY, f"not for {peer}")
        return dataclasses.replace(arrived, sender="another")

    world.on_arrival = arrival
    for sequence in (1, 2):
        world.inject("a", push("c", sequence=sequence))
    assert world.counters["a"].rejected == {"wrong_key": 1, "unknown_sender": 1}
    assert "c" not in world.nodes["a"].agent.membership.liveness.lives
    assert "another" in world.nodes["a"].agent.membership.liveness.lives
