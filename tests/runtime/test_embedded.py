"""An agent inside of a program of one's own: `peer.Agent`, and `peer.run`, which waits for one."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch

import peer
from peer import run_result
from peer.errors import HyperpushError, ProblemError, SettingError, StateError
from peer.event_reader import EVENTS_KEPT
from peer.events import EpochEntered, PeerArrived
from peer.torch_learner import TorchLearner
from peer.views import AgentView
from tests.runtime.agents import LIMIT_S, SETTINGS, quadratics
from wire import FaultPlan, TransportError

if TYPE_CHECKING:
    from pathlib import Path

QUICK: dict[str, Any] = {
    name: getattr(SETTINGS, name)
    for name in ("tick_s", "model_step_size", "adjoint_step_size", "momentum", "wire_dtype", "warm_up_ticks")
}
ALONE: dict[str, Any] = {**QUICK, "zeroconf": False, "listen_s_max": 0.3, "evaluate_every": 0}


async def test_two_agents_find_each_other_and_agree() -> None:
    problems = quadratics(2)
    truth = peer.closed_form(problems)
    lossy = {**ALONE, "swarm": "two", "faults": FaultPlan(drop=0.2)}
    heard = []
    async with asyncio.timeout(LIMIT_S), peer.Agent(problems[0], name="one", **lossy) as one:
        assert one.id.startswith("one-")
        with pytest.raises(HyperpushError, match="has not ended"):
            _ = one.result
        async with peer.Agent(problems[1], name="other", peers=[one.address], **lossy) as other:
            async for event in other.events():
                heard.append(event)
                if other.peers and one.peers and max(one.view.residual, other.view.residual) < 1e-9:
                    one.stop()
                    other.stop()
            await one.wait()
    assert any(isinstance(event, PeerArrived) and event.peer == one.id for event in heard)
    assert any(isinstance(event, EpochEntered) for event in heard)
    ticks = [event.tick for event in heard if isinstance(event, AgentView)]
    assert ticks == sorted(set(ticks))
    for agent in (one, other):
        found = agent.result
        assert found.id == agent.id
        assert torch.allclose(found.model["x"], truth.model, atol=1e-5)
        assert torch.allclose(found.adjoint["x"], truth.adjoint, atol=1e-5)
        assert not found.interrupted
        assert found.history[-1].tick == found.ticks
        assert found.epoch >= 1


async def test_it_can_be_watched_and_stopped(tmp_path: Path) -> None:
    """And goes on from its directory when it comes back."""
    problem = quadratics(1)[0]
    agent = peer.Agent(problem, state=tmp_path / "state", **ALONE)
    with pytest.raises(HyperpushError, match="inside of `async with`"):
        _ = agent.address
    async with asyncio.timeout(LIMIT_S), agent:
        async for event in agent.events():
            if isinstance(event, AgentView) and event.tick > 5:
                agent.stop()
        assert agent.view.tick > 5
        assert agent.status().to_dict()["peer"] == agent.id
        with pytest.raises(HyperpushError):
            await agent.personal_model()
        assert [event async for event in agent.events()] == [], "it has ended"
    assert not agent.result.interrupted, "nothing was asked for"
    with pytest.raises(HyperpushError, match="lives once"):
        async with agent:
            pass
    async with (
        asyncio.timeout(LIMIT_S),
        peer.Agent(problem, state=tmp_path / "state", until=["ticks:1000000"], **ALONE) as again,
    ):
        assert again.id == agent.id
        (estimate,) = again._there()[0].agent.solver.model.estimate[None]
        assert torch.equal(estimate, agent.result.model["x"])
    assert again.result.interrupted


async def test_what_is_wrong_is_said_before_anything_begins(tmp_path: Path) -> None:
    problem = quadratics(1)[0]
    for options, told in (
        ({"listen": "0.0.0.0:0"}, "listen: '0.0.0.0:0' is not possible; whoever reaches this port"),
        ({"until": ["residual:2"]}, "until: 'residual:2' is not possible"),
        ({"allow": tmp_path / "allowed"}, "identities are proven with keys only"),
        ({"key": tmp_path / "none"}, "cannot be read"),
        ({"fanout": 0}, "fanout"),
        ({"swarm": "x" * 500}, "swarm: "),
        ({"swarm": ""}, "swarm: "),
        ({"name": "a\nb"}, "name: "),
        ({"listen": "here"}, "listen: 'here' is not possible; "),
        ({"peers": ["nowhere"]}, "peers: 'nowhere' is not possible; address 'nowhere' has no port"),
        ({"peers": "10.0.0.1:7700"}, "peers: '10.0.0.1:7700' is not possible; give a list of them"),
        ({"dns": ["a b:1"]}, "dns: 'a b:1' is not possible"),
    ):
        with pytest.raises(SettingError, match=r".*") as refused:
            peer.Agent(problem, **{**ALONE, **options})
        assert told in str(refused.value)
    peer.Agent(problem, listen="0.0.0.0:0", insecure=True, **ALONE)
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError):
        async with peer.Agent(problem, state=tmp_path / "file", **ALONE):
            pass
    async with peer.Agent(problem, **ALONE) as first:
        with pytest.raises(TransportError):
            async with peer.Agent(problem, listen=first.address, **ALONE):
                pass


async def test_a_bug_in_a_problem_surfaces_where_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> object:
        raise ZeroDivisionError("planted")

    broken = quadratics(1)[0]
    monkeypatch.setattr(broken, "derivatives", fail)

    async def learn() -> None:
        async with asyncio.timeout(LIMIT_S), peer.Agent(broken, **ALONE) as agent:
            async for _ in agent.events():
                pass
            await agent.wait()

    with pytest.raises(ZeroDivisionError, match="planted"):
        await learn()


async def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    """Else a notebook could not use the directory again before it is restarted."""
    wrong, right = quadratics(2)
    wrong.model = {"x": wrong.model["x"] * float("nan")}  # type: ignore[misc]
    with pytest.raises(ProblemError):
        async with peer.Agent(wrong, state=tmp_path / "state", **ALONE):
            pass
    async with (
        asyncio.timeout(LIMIT_S),
        peer.Agent(right, state=tmp_path / "state", until=["ticks:3"], **ALONE) as agent,
    ):
        await agent.wait()
    assert agent.result.ticks >= 3


async def test_metrics_that_fail_do_not_take_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, said = quadratics(1)[0], list[str]()
    monkeypatch.setattr(
        TorchLearner, "metrics", lambda *_: (_ for _ in ()).throw(ValueError("no test samples"))
    )
    options = {**ALONE, "until": ["ticks:3"], "say": said.append}
    async with asyncio.timeout(LIMIT_S), peer.Agent(problem, **options) as agent:
        await agent.wait()
    assert agent.result.metrics == {}
    assert said == ["the problem's metrics fail: ValueError: no test samples"]


def test_the_program_around_it_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        peer.run(quadratics(1)[0], until=["ticks:3"], **ALONE)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


async def test_a_slow_reader_misses_the_oldest_and_nothing_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_result, "HISTORY_KEPT", 8)
    async with asyncio.timeout(LIMIT_S), peer.Agent(quadratics(1)[0], **ALONE) as agent:
        stream = agent.events()
        first = await anext(stream)
        seen = agent.view
        for tick in range(10 * EVENTS_KEPT):
            agent._observe([AgentView(**{**vars_of(seen), "tick": 10_000 + tick})])
        agent.stop()
        rest = [event async for event in stream]
    assert first is not None
    assert len(rest) <= EVENTS_KEPT + 10, "a few have come since"
    assert isinstance(rest[0], AgentView)
    assert rest[0].tick > 15_000
    ticks = [one.tick for one in agent.result.history]
    assert len(ticks) <= 10
    assert ticks[0] < 10_000


def vars_of(view: AgentView) -> dict[str, Any]:
    return {name: getattr(view, name) for name in view.__dataclass_fields__}


# ---- run


def test_run_waits_for_the_end_and_gives_what_was_learned() -> None:
    heard: list[object] = []
    found = peer.run(quadratics(1)[0], until=["ticks:40"], on_event=heard.append, **ALONE)
    assert found.ticks >= 40
    assert any(isinstance(event, EpochEntered) for event in heard)
    pandas = pytest.importorskip("pandas")
    frame = found.frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["tick"]) == [one.tick for one in found.history]
    assert "messages" not in frame.columns
    assert frame["training_loss"].iloc[-1] == found.history[-1].training_loss


async def test_run_works_where_a_loop_is_running_already() -> None:
    """As in a notebook: the cell waits."""
    found = peer.run(quadratics(1)[0], until=["ticks:10"], **ALONE)
    assert found.ticks >= 10
    with pytest.raises(SettingError, match="until"):
        peer.run(quadratics(1)[0], until=["never"], **ALONE)


@pytest.mark.parametrize("is_notebook", [False, True])
def test_interrupted_it_says_goodbye_and_gives_what_there_is(*, is_notebook: bool) -> None:
    before = threading.active_count()
    interrupted = threading.Event()

    def look(event: object) -> None:
        if isinstance(event, AgentView) and event.tick > 3 and not interrupted.is_set():
            interrupted.set()
            os.kill(os.getpid(), signal.SIGINT)

    def cell() -> peer.RunResult:
        return peer.run(quadratics(1)[0], until=["ticks:1000000"], on_event=look, **ALONE)

    if is_notebook:
        loop = asyncio.new_event_loop()
        asyncio._set_running_loop(loop)
        try:
            found = cell()
        finally:
            asyncio._set_running_loop(None)
            loop.close()
    else:
        found = cell()
    assert found.interrupted
    assert found.ticks > 3
    assert threading.active_count() <= before + 1


def test_frames_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(run_result.importlib, "import_module", missing)
    with pytest.raises(HyperpushError, match=r"pip install 'hyperpush\[pandas\]'"):
        run_result.frame([])
