"""Agents, and jobs of hunts and benchmarks, in a Ray of this machine."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from peer.cli import main
from peer.errors import HyperpushError
from peer.spread.ray_cluster import Cluster, cluster
from peer.spread.ray_crew import RayCrew
from tests.runtime.agents import LIMIT_S
from tests.runtime.test_spread import LEARNING, are_among_themselves, settled, watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACTORS, AGENTS = 4, 32
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: hyperpush[ray]")


@pytest.fixture
def own() -> Iterator[Cluster]:
    with cluster(None, ACTORS) as found:
        yield found


@needs_ray
async def test_four_actors_of_eight_agents_one_of_which_ray_begins_anew(own: Cluster) -> None:
    shares = [tuple(range(start, start + AGENTS // ACTORS)) for start in range(0, AGENTS, AGENTS // ACTORS)]
    crew = RayCrew(own, 1.0, None)
    # held: while hyperparameters still move, a small residual says nothing of how far they have to go
    settings = replace(LEARNING, tick_s=0.1, hyper_step_size=0.0)
    async with watched(crew, shares=shares, settings=settings, limit_s=20 * LIMIT_S) as swarm:
        await swarm.until(lambda: settled(swarm, AGENTS, residual=0.1))
        own.ray.kill(crew._actors[3], no_restart=False)  # its process ends at once
        await swarm.until(
            lambda: (
                "agent-31+1" in swarm.names()
                and are_among_themselves(swarm)
                and settled(swarm, AGENTS, residual=1e-3)
            )
        )
        errors = await swarm.learned()
        assert list(errors) == [f"agent-{number:02}{'+1' * (number >= 24)}" for number in range(AGENTS)]
        assert max(errors.values()) < 0.05
        assert "process 3 (agent-24 to agent-31): its actor " in swarm.said[0]


@needs_ray
def test_a_hunt_is_the_same_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for engine in ("processes", "ray"):
        record = tmp_path / engine
        assert main(["hunt", "--seeds", "3", "--engine", engine, "--record", str(record)]) == 0
        verdicts = [json.loads(line) for line in record.read_text().splitlines()]
        found.append(sorted(verdicts, key=json.dumps))
    assert found[0] == found[1]
    assert "3 worlds" in capsys.readouterr().out


@needs_ray
def test_what_the_cluster_never_has_room_for_is_refused(
    own: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(HyperpushError, match="9 actors need 9 CPU, and the Ray cluster has 4; add machines"):
        own.require(9, 1.0, None, "actors")
    with pytest.raises(HyperpushError, match="give less with --actor-memory"):
        own.require(1, 1.0, 2**60, "actors")


@needs_ray
def test_an_address_at_which_nobody_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm", "--engine", "ray", "--ray-address", "127.0.0.1:9"]) == 2
    error = capsys.readouterr().err
    assert "--ray-address: '127.0.0.1:9' is not possible; " in error
    assert "give that of a Ray head, or leave it out" in error


def test_without_ray_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["swarm", "--engine", "ray"]) == 2
    told = "--engine: 'ray' is not possible; it needs Ray: pip install 'hyperpush[ray]'"
    assert told in capsys.readouterr().err
