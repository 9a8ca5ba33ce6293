"""`hyperpush doctor` on healthy and on broken set-ups, all on the loopback interface."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from peer import cli
from peer.commands.doctor import plan_of
from peer.evidence import Reached
from peer.options import complete, split
from peer.probing import Plan, examine
from tests.wire.diary import Diary
from tests.wire.test_zeroconf_discovery import discovering
from wire import PeerRecord
from wire.keys import KeyRing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SWARM = f"doctor-{os.getpid()}"
OPTIONS = ("--task", "synthetic", "--shard", "1/3", "--swarm", SWARM, "--timeout", "1")
LOCAL = ("--listen", "127.0.0.1:0")
BOB = PeerRecord("bob", 1, "", SWARM, "c0ffee")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """What these options come to."""
    return plan_of(complete(split(["doctor", *OPTIONS, *LOCAL, "--no-zeroconf"]), {}))


@pytest.fixture
def bob(plan: Plan) -> PeerRecord:
    """An agent with the model of these options."""
    return replace(BOB, fingerprint=plan.own.fingerprint)


@asynccontextmanager
async def serving(answer: object, status: int = 200, **headers: str) -> AsyncIterator[str]:
    """An agent as far as the doctor sees it; gives its address."""

    async def identity(_request: web.Request) -> web.Response:
        fields = {**answer.to_fields()} if isinstance(answer, PeerRecord) else answer
        return web.json_response(fields, status=status, headers=headers)

    application = web.Application()
    application.router.add_get("/v1/identity", identity)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def saying_nothing() -> AsyncIterator[str]:
    """A program that accepts connections and is silent."""
    over = asyncio.Event()

    async def wait(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        over.set()
        server.close()


async def unused_address() -> str:
    async with saying_nothing() as address:
        pass
    return address


async def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """Exit code and lines, without those about this machine's own interfaces."""
    code = await asyncio.to_thread(cli.main, ["doctor", *OPTIONS, *arguments])
    lines = capsys.readouterr().out.splitlines()
    return code, [line for line in lines if not line.startswith("ok       interfaces")]


def peers(*addresses: str) -> list[str]:
    return [part for address in addresses for part in ("--peer", address)]


async def test_a_healthy_set_up(capsys: pytest.CaptureFixture[str], bob: PeerRecord) -> None:
    async with serving(bob) as address:
        code, lines = await doctor(capsys, *LOCAL, "--no-zeroconf", *peers(address))
    own = lines.pop(3)
    assert own.startswith("ok       own address: 127.0.0.1:")
    assert own.endswith(", which others are told, leads here")
    assert lines == [
        "ok       port: 127.0.0.1 can be listened on",
        f"ok       agent runs here: bob at {address}, on this machine",
        "note     this machine only: listens on 127.0.0.1 -> --listen 0.0.0.0:PORT lets others in",
        "note     multicast: not tried: --no-zeroconf -> name others with --peer or --dns",
        f"ok       --peer: bob at {address} answers and fits",
        "nothing is wrong",
    ]
    assert code == 0


async def test_broken_set_ups(capsys: pytest.CaptureFixture[str], bob: PeerRecord, tmp_path: Path) -> None:
    """Wrong swarm, other model, wrong key, other versions; nobody, somebody else, silence; no such name."""
    key = tmp_path / "swarm.key"
    key.write_text(KeyRing.new(bytes(32)).to_text(), encoding="utf-8")
    (key_id,) = KeyRing.new(bytes(32)).key_ids
    bob = replace(bob, keys=(key_id,))
    wrong = (
        replace(bob, swarm="woods"),
        replace(bob, fingerprint="f00d"),
        replace(bob, keys=("ffffffff",)),
        replace(bob, keys=()),
        replace(bob, protocol=9, oldest=9),
    )
    async with AsyncExitStack() as stack:
        refused = await unused_address()
        addresses = [await stack.enter_async_context(serving(record)) for record in wrong]
        web_page = await stack.enter_async_context(serving({}, status=404))
        nonsense = await stack.enter_async_context(serving({"peer": 7}))
        silent = await stack.enter_async_context(saying_nothing())
        found = (*addresses, refused, web_page, nonsense, silent, "no-such-host.invalid:7700")
        code, lines = await doctor(capsys, *LOCAL, "--no-zeroconf", "--key", str(key), *peers(*found))
    other_model = f"has another model or task: fingerprint f00d, here {bob.fingerprint}"
    shown = [line.removeprefix("problem  ").partition(" -> ")[0] for line in lines if "problem  " in line]
    assert [line.partition(" (")[0] for line in shown] == [
        f"--peer: wrong swarm: bob at {addresses[0]} is of swarm 'woods', not '{SWARM}'",
        f"--peer: wrong fingerprint: bob at {addresses[1]} {other_model}",
        f"--peer: wrong key: bob at {addresses[2]} has key ffffffff, here is {key_id}",
        f"--peer: wrong key: bob at {addresses[3]} has no key, here is {key_id}",
        f"--peer: future version: bob at {addresses[4]} reads protocol 9 to 9, this one 1 to 2",
        f"--peer: refused: {refused} refuses connections",
        f"--peer: no agent: {web_page} is no agent",
        f"--peer: no agent: {nonsense} is no agent",
        f"--peer: no agent: {silent} is no agent",
        "--peer: no such name: no-such-host.invalid:7700 cannot be looked up",
        f"alone: found 1 of swarm '{SWARM}', none fits",
    ]
    assert "(it answers with HTTP status 404)" in shown[6]
    assert "(it accepts connections, but says nothing)" in shown[8]
    assert lines[-1] == "11 problems"
    assert code == 1


async def test_an_agent_that_runs_here_is_asked(capsys: pytest.CaptureFixture[str], bob: PeerRecord) -> None:
    """It hears Bob, Bob does not hear it; Bob's clock is wrong, too."""
    alice = {**replace(bob, peer="alice").to_fields(), "hears": ["bob"], "heard_by": ["carol"]}
    bobs = {**bob.to_fields(), "hears": ["carol"], "heard_by": ["alice"]}
    async with serving(alice) as here, serving(bobs, Date="Mon, 05 Jan 2026 10:00:00 GMT") as there:
        code, lines = await doctor(
            capsys, "--listen", here, "--no-zeroconf", "--json", *peers(there), "--dns", here
        )
    told = json.loads("\n".join(lines))
    found = [(one["level"], one["finding"], one["evidence"]) for one in told["findings"]]
    assert ("ok", "agent runs here", f"alice of swarm {SWARM!r} answers at --listen") in found
    assert ("ok", "own address", f"{here}, which others are told, leads here") in found
    assert ("note", "one-way", "bob is heard, it does not hear alice") in found
    assert ("ok", "--dns 127.0.0.1", f"{here} is this agent itself") in found
    assert any(finding == "clocks differ" for _, finding, _ in found)
    assert (code, told["problems"]) == (0, 0)


async def test_a_link_cut_in_one_direction_is_found_from_what_the_peers_say(
    capsys: pytest.CaptureFixture[str], bob: PeerRecord
) -> None:
    """As documented, without --listen: nothing that Bob sends reaches Alice."""
    alice = {**replace(bob, peer="alice").to_fields(), "hears": [], "heard_by": ["bob"]}
    bobs = {**bob.to_fields(), "hears": ["alice"], "heard_by": []}
    async with serving(alice) as here, serving(bobs) as there:
        code, lines = await doctor(capsys, "--no-zeroconf", *peers(here, there))
    said = [line.partition(" -> ")[0] for line in lines]
    assert "note     one-way: bob hears alice, but alice does not hear bob" in said
    assert f"problem  unheard: nobody hears bob at {there}" in said
    assert f"problem  deaf: nobody is heard by alice at {here}" in said
    assert f"ok       agent runs here: alice at {here}, bob at {there}, on this machine" in said
    assert code == 1


async def test_a_port_that_somebody_else_has(capsys: pytest.CaptureFixture[str]) -> None:
    async with saying_nothing() as taken:
        code, lines = await doctor(capsys, "--listen", taken, "--no-zeroconf")
    problems = [line for line in lines if line.startswith("problem  cannot listen")]
    assert len(problems) == 1, lines
    assert taken in problems[0]
    assert code == 1


async def test_peers_found_by_multicast_are_asked(plan: Plan, bob: PeerRecord) -> None:
    """Bob is announced where he listens, Carol where nobody does; the doctor itself is not announced."""
    diary = Diary()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(bob))
        carol = replace(bob, peer="carol", address=await unused_address())
        for record in (replace(bob, address=address), carol):
            await stack.enter_async_context(discovering(record, diary))
        evidence = await examine(replace(plan, zeroconf=True, timeout_s=3.0))
    found = {probe.answer.record.peer: probe for probe in evidence.peers if probe.answer is not None}
    assert found["bob"].reached is Reached.ANSWERED
    assert (found["carol"].reached, found["carol"].address) == (Reached.REFUSED, carol.address)
    assert evidence.multicast is not None
    assert evidence.multicast.own == ("127.0.0.1",)
    assert {record.peer for record in diary.seen} == {"bob", "carol"}


def test_whether_a_task_was_given_counts_wherever_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.toml").write_text('task = "synthetic"\n')
    for more, known in (((), False), (("--task", "synthetic"), True), (("--config", "agent.toml"), True)):
        assert plan_of(complete(split(["doctor", *LOCAL, *more]), {})).knows_task is known


def test_settings_that_count_are_those_of_the_agents() -> None:
    """Agents that solve otherwise have another fingerprint: the doctor must not call that a mismatch."""
    options = ["doctor", *OPTIONS, *LOCAL, "--no-zeroconf"]
    plain, other = (
        plan_of(complete(split([*options, *more]), {})) for more in ((), ("--solver", "push-sum"))
    )
    assert plain.own.fingerprint != other.own.fingerprint
