"""`hyperpush top`: a table of agents from what their listeners tell."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from peer.cli import main
from tests.runtime.pages import visited

if TYPE_CHECKING:
    import pytest


async def ran(*options: str) -> int:
    return await asyncio.to_thread(main, ["top", *options])


async def test_all_agents_of_all_urls_are_in_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    async with visited(2) as visitor:
        await visitor.until(lambda live: len(live["agents"][0]["curves"]["at_s"]) >= 1)
        assert await ran(visitor.url, "127.0.0.1:9", visitor.url) == 0
    printed = capsys.readouterr().out
    assert "2 agents  tick" in printed
    assert printed.count("agent-0") == printed.count("agent-1") == 1
    assert "http://127.0.0.1:9: no answer" in printed


async def test_json_is_what_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    async with visited(2) as visitor:
        await visitor.ask("POST", "/v1/agents/agent-1/kill")
        await visitor.until(lambda live: live["absent"] == ["agent-1"])
        assert await ran(visitor.url, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [agent["peer"] for agent in told["agents"]] == ["agent-0"]
    assert told["absent"] == ["agent-1"]
    assert told["problems"] == {}


def test_nobody_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "127.0.0.1:9"]) == 1
    assert "http://127.0.0.1:9: no answer" in capsys.readouterr().out
    assert main(["top", "ftp://127.0.0.1:9"]) == 2
    assert "give that of the agent's --admin" in capsys.readouterr().err
