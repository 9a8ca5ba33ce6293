"""The page of a swarm over real sockets: what it shows, and what people do to agents from it."""

from __future__ import annotations

import gzip
import re
from typing import Any

import pytest

from peer.page.assets import CHARTS, STATIC, asset, names
from tests.runtime.pages import visited


def agents_of(live: Any) -> list[str]:
    return [agent["status"]["peer"] for agent in live["agents"]]


async def test_it_shows_curves_events_and_what_is_personal() -> None:
    async with visited(2, "synthetic") as visitor:
        live = await visitor.until(lambda live: len(live["agents"][0]["curves"]["at_s"]) >= 2)
        assert agents_of(live) == ["agent-0", "agent-1"]
        assert live["title"] == "a swarm"
        assert live["actions"] == ["pause", "leave", "kill", "restart"]
        curves = live["agents"][0]["curves"]["curves"]
        assert {"training_loss", "residual", "hypergradient_norm", "missing", "disagreement"} <= curves.keys()
        assert all(len(curve) == len(live["agents"][0]["curves"]["at_s"]) for curve in curves.values())
        (picture, *_) = live["agents"][0]["hyperparameters"]
        assert picture["shape"] == [len(picture["numbers"])]
        assert {event["kind"] for event in live["events"]} >= {"EpochEntered", "PeerArrived"}
        assert [event["number"] for event in live["events"]] == list(range(1, len(live["events"]) + 1))

        last_s, last = live["agents"][0]["curves"]["at_s"][-1], live["events"][-1]["number"]
        _, more = await visitor.ask("GET", f"/v1/live?after={last_s}&event={last}")
        assert more["run"] == live["run"]
        assert all(at_s > last_s for at_s in more["agents"][0]["curves"]["at_s"])
        assert all(event["number"] > last for event in more["events"])
        status, refused = await visitor.ask("GET", "/v1/live?after=yesterday")
        assert (status, refused["field"], refused["value"]) == (400, "after", "yesterday")


async def test_faults_are_set_on_one_link_and_on_all() -> None:
    async with visited(3) as visitor:
        cut = {"from": "agent-0", "to": "agent-1", "faults": None}
        status, told = await visitor.ask("PUT", "/v1/faults", json=cut)
        assert status == 200
        assert {name: len(one["live"]) for name, one in told["agents"].items()} == {
            "agent-0": 1,
            "agent-1": 0,
            "agent-2": 0,
        }
        _, told = await visitor.ask("PUT", "/v1/faults", json={"faults": {"drop": 0.5}, "for_s": 60})
        assert [len(one["live"]) for one in told["agents"].values()] == [2, 1, 1]
        _, told = await visitor.ask("DELETE", "/v1/faults?from=agent-0&to=agent-1")
        assert told["cleared"] == 1
        _, told = await visitor.ask("DELETE", "/v1/faults")
        assert told["cleared"] == 3
        _, live = await visitor.ask("GET", "/v1/live")
        assert [event["text"] for event in live["events"] if event["kind"] == "said"] == [
            "links from agent-0 to agent-1: cut",
            "all links: drop 0.5 for 60 s",
            "links from agent-0 to agent-1: what was set is taken back",
            "all links: what was set is taken back",
        ]
        status, refused = await visitor.ask("PUT", "/v1/faults", json={**cut, "from": "agent-9"})
        assert (status, refused["field"]) == (404, "agent")
        assert "agent-2" in refused["remedy"]
        status, refused = await visitor.ask("PUT", "/v1/faults", json={**cut, "from": 3})
        assert (status, refused["field"]) == (400, "from")


async def test_agents_are_killed_and_come_back() -> None:
    async with visited(3) as visitor:
        status, told = await visitor.ask("POST", "/v1/agents/agent-1/kill")
        assert (status, told) == (202, {"agent": "agent-1", "asked": "kill"})
        live = await visitor.until(lambda live: live["absent"] == ["agent-1"])
        assert agents_of(live) == ["agent-0", "agent-2"]
        assert any("agent-1 is killed" in event["text"] for event in live["events"])
        ready, reasons = await visitor.ask("GET", "/readyz")
        assert (ready, "an agent is not there" in reasons["reasons"]) == (503, True)

        status, refused = await visitor.ask("POST", "/v1/agents/agent-1/kill", json={})
        assert (status, refused["remedy"]) == (409, "it is not there: restart it first")
        status, _ = await visitor.ask("POST", "/v1/agents/agent-1/restart", json={})
        assert status == 202
        live = await visitor.until(lambda live: live["absent"] == [])
        assert agents_of(live) == ["agent-0", "agent-1", "agent-2"]
        assert live["agents"][1]["status"]["incarnation"] == 2
        status, refused = await visitor.ask("POST", "/v1/agents/agent-1/restart")
        assert (status, refused["field"]) == (409, "agent")


@pytest.mark.parametrize(
    ("action", "content", "status", "field"),
    [
        ("pause", {"for_s": 0.1}, 202, None),
        ("pause", None, 400, "for_s"),
        ("pause", {"for_s": -1}, 400, "for_s"),
        ("pause", [], 400, "body"),
        ("kill", {"now": True}, 400, "now"),
        ("explode", {}, 404, "path"),
    ],
)
async def test_what_makes_no_sense_is_refused(action: str, content: Any, status: int, field: str) -> None:
    async with visited(2) as visitor:
        options = {} if content is None else {"json": content}
        found, told = await visitor.ask("POST", f"/v1/agents/agent-0/{action}", **options)
        assert (found, told.get("field")) == (status, field)


async def test_a_page_of_somebody_else_may_not_ask() -> None:
    async with visited(2) as visitor:
        for origin in ("http://example.org", "null", "http://127.0.0.1:1"):
            headers = {"Origin": origin, "Content-Type": "text/plain"}
            status, told = await visitor.ask("POST", "/v1/agents/agent-0/kill", data="{}", headers=headers)
            assert (status, told["field"]) == (403, "Origin")
        own = {"Origin": visitor.url}
        assert (await visitor.ask("GET", "/v1/agents", headers=own))[0] == 200
        assert (await visitor.ask("GET", "/v1/live"))[1]["absent"] == []


async def test_the_page_and_its_files_are_all_here() -> None:
    async with visited(1) as visitor:
        status, page, headers = await visitor.get("/")
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        wanted = set(re.findall(r'(?:src|href)="assets/([^"]+)"', page.decode()))
        for name in wanted | {path.name for path in STATIC.glob("*.js")}:
            source = (STATIC / name).read_text(encoding="utf-8") if name != CHARTS else ""
            wanted |= set(re.findall(r'from "\./([^"]+)"', source))
        assert {CHARTS, "main.js", "page.css"} <= wanted <= names()
        for name in wanted:
            status, content, headers = await visitor.get(f"/assets/{name}")
            assert status == 200, name
            found = asset(name)
            assert found is not None
            assert content == found.plain, "aiohttp has decompressed it"
            status, nothing, _ = await visitor.get(
                f"/assets/{name}", headers={"If-None-Match": headers["ETag"]}
            )
            assert (status, nothing) == (304, b"")
        for name in ("nothing.js", "..%2Fscene.py", "__init__.py"):
            assert (await visitor.get(f"/assets/{name}"))[0] == 404
    library = asset(CHARTS)
    assert library is not None
    assert library.compressed is not None
    assert gzip.decompress(library.compressed) == library.plain
    assert len(library.compressed) < 2e6


def test_nothing_comes_from_elsewhere() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses, path.name
        assert "eval(" not in text
        assert "innerHTML" not in text, "names come from the network"


async def test_metrics_of_all_agents_and_of_the_process() -> None:
    async with visited(2) as visitor:
        status, text, headers = await visitor.get("/metrics")
        assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        told = text.decode()
        for agent in ("agent-0", "agent-1"):
            assert f'hyperpush_ticks_total{{agent="{agent}"}}' in told
        assert "process_resident_memory_bytes" in told
