"""Parts of other packages in running agents and in commands."""

from __future__ import annotations

import asyncio
import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch

import peer
from peer.cli import main
from peer.extensions import POINTS
from peer.extensions.network import discoveries_of, transport_of
from tests.examples.extensions.bursts import Bursts
from tests.examples.extensions.in_process import InProcess
from tests.examples.extensions.shared_folder import SharedFolder
from tests.runtime.agents import LIMIT_S, quadratics
from tests.runtime.test_embedded import ALONE
from tests.unit.test_extensions import BROUGHT, bring
from wire import FaultPlan, TransportError, WebSocketTransport

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    bring(tmp_path, "parts", BROUGHT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def learned(problems: Any, **options: Any) -> list[peer.RunResult]:
    """By agents that begin one after the other, and end once all are settled."""
    async with asyncio.timeout(LIMIT_S):
        first, second = (
            peer.Agent(problem, name=name, **{**ALONE, "swarm": "extended", **options})
            for problem, name in zip(problems, ("first", "second"), strict=True)
        )
        async with first, second:
            async for _ in second.events():
                if first.peers and second.peers and max(first.view.residual, second.view.residual) < 1e-9:
                    first.stop()
                    second.stop()
            await first.wait()
    return [first.result, second.result]


async def test_agents_find_and_reach_each_other_by_parts_of_others(tmp_path: Path) -> None:
    problems = quadratics(2)
    found = await learned(
        problems,
        discoveries=[partial(SharedFolder, text=str(tmp_path))],
        make_transport=InProcess,
        faults=FaultPlan(model=Bursts("0.02s:0.05s")),
    )
    truth = peer.closed_form(problems)
    for result in found:
        assert torch.allclose(result.model["x"], truth.model, atol=1e-5)
        assert torch.allclose(result.adjoint["x"], truth.adjoint, atol=1e-5)
    assert os.listdir(tmp_path) == [], "what they wrote there is taken back"


async def test_so_they_do_by_names_as_the_command_has_them(brought: Path) -> None:
    folder = brought / "agents"
    folder.mkdir()
    found = await learned(
        quadratics(2),
        discoveries=discoveries_of([f"folder:{folder}"]),
        make_transport=transport_of("in-process"),
    )
    assert torch.allclose(found[0].model["x"], found[1].model["x"], atol=1e-5)
    assert transport_of(None) is WebSocketTransport


async def test_a_discovery_that_cannot_begin_is_said(tmp_path: Path) -> None:
    nowhere = partial(SharedFolder, text=str(tmp_path / "nowhere"))
    with pytest.raises(TransportError, match="nowhere cannot be written to"):
        async with peer.Agent(quadratics(1)[0], **ALONE, discoveries=[nowhere]):
            pass


@pytest.mark.usefixtures("brought")
def test_commands_take_their_names(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["extensions"]) == 0
    told = capsys.readouterr().out
    assert "hyperpush.fault_models" in told
    for point in POINTS:
        for said in (*point.options, point.group, point.called_with, point.contract):
            assert said in told, "it says how a part is called, and where its protocol is"
    assert "bursts (parts)" in told
    assert main(["extensions", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {
        "point": "partition",
        "name": "power-law",
        "package": "parts",
        "object": "tests.examples.extensions.power_law:PowerLaw",
    } in found

    synthetic = ["simulate", "--task", "synthetic", "--agents", "3", "--ticks", "300", "--drop", "0"]
    out = tmp_path / "found.json"
    errors = []
    for more in (["--fault-model", "bursts:0.2s:0.4s"], ["--solver", "averaging"]):
        assert main([*synthetic, *more, "--json", str(out)]) == 0
        errors.append(max(agent["error"]["model"] for agent in json.loads(out.read_text())["agents"]))
    assert errors[0] < 1e-3 < errors[1], "bursts bias nothing, averaging alone does"
    assert "missing" in capsys.readouterr().out

    assert main(["partition", "--agents", "4", "--partition", "power-law:2"]) == 0
    assert "power-law:2" in capsys.readouterr().out
    few = ["simulate", "--agents", "3", "--ticks", "20"]
    assert main([*few, "--personalization", "temperature+bias", "--hyper-optimizer", "sign:1e-9"]) == 0
    assert main([*few, "--estimator", "own-hessian:2"]) == 0
    small = ["swarm", "--agents", "2", "--ticks", "5", "--admin", "none"]
    assert main([*small, "--fault-model", "bursts:1s:9s"]) == 0
    capsys.readouterr()
    assert main([*small, "--fault-model", "storms"]) == 2
    told = capsys.readouterr().err
    assert "hyperpush swarm: --fault-model: 'storms' is not possible; give one of" in told
    assert main([*small, "--hyper-optimizer", "adamw"]) == 2
    assert (
        "hyperpush swarm: --hyper-optimizer: 'adamw' is not possible; write adamw:" in capsys.readouterr().err
    )
