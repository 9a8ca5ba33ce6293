"""`hyperpush bench wire`: what it counts has arrived, and what it says is what it has measured."""

from __future__ import annotations

import json
from multiprocessing import Pipe
from typing import TYPE_CHECKING

import pytest

from peer.bench import pair
from peer.bench.pair import Measurement, Tally
from peer.bench.talkers import BLOCKS
from peer.bench.ways import AGENTS, AGENTS_WITH_KEYS, POST, TRANSPORT, WAYS, WEBSOCKET, send
from peer.bench.wire import ROUNDS, TARGET, Row, verdict
from peer.cli import main
from wire import TransportError

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 20_000


@pytest.mark.parametrize("way", WAYS)
async def test_all_that_is_sent_arrives_once(way: str) -> None:
    """Both ends in one loop. A frame replaced by a newer one, or refused, would be missing."""
    tally = Tally()
    async with WAYS[way].listen(SIZE, tally.take) as port:
        sent = await send(WAYS[way], port, SIZE, 0.05)
        received = await tally.result(sent.messages)
    assert received.messages == sent.messages > BLOCKS
    assert 0 < received.cpu_s < 10
    assert 0 < received.seconds < 10


async def test_messages_that_are_refused_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver has a key, the sender has none: so messages are opened and checked, not just counted."""
    monkeypatch.setattr(pair, "PATIENCE_S", 0.05)
    tally = Tally()
    async with WAYS[AGENTS_WITH_KEYS].listen(SIZE, tally.take) as port:
        sent = await send(WAYS[AGENTS], port, SIZE, 0.01)
        assert (await tally.result(sent.messages)).messages == 0 < sent.messages


def test_the_command_measures_all_ways_in_two_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wire.json"
    assert main(["bench", "wire", "--sizes", "4k", "--seconds", "0.4", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    content = json.loads(file.read_text())
    rows = {row["way"]: row for row in content["rows"]}
    assert list(rows) == list(WAYS)
    assert rows[WEBSOCKET]["ratio"] == 1.0
    for way, row in rows.items():
        assert way in printed
        assert len(row["rounds"]) == ROUNDS
        for found in row["rounds"]:
            assert found["megabytes_per_s"] == pytest.approx(found["messages_per_s"] * row["size"] / 1e6)
            assert min(found["sender_us"], found["receiver_us"]) > 0
    cost = {way: min(found["receiver_us"] for found in row["rounds"]) for way, row in rows.items()}
    assert cost[TRANSPORT] < cost[AGENTS] < cost[AGENTS_WITH_KEYS], "each does what the one before does"
    below = [way for way in (TRANSPORT, AGENTS) if rows[way]["ratio"] < TARGET]
    assert printed.count("Below the target") == len(below)


def test_a_process_that_has_ended_is_no_riddle() -> None:
    ours, theirs = Pipe()
    theirs.close()
    with ours, pytest.raises(TransportError, match="has ended"):
        pair._ask(ours, ("any", "order"))


def test_only_ours_without_keys_are_held_against_the_target() -> None:
    measured = (Measurement(2, 100.0, 1.0, 1.0, 1.0),)
    ratios = {WEBSOCKET: 1.0, POST: 0.1, TRANSPORT: 0.8, AGENTS: 0.9, AGENTS_WITH_KEYS: 0.1}
    rows = [Row(way, 64_000, measured, ratio) for way, ratio in ratios.items()]
    assert verdict(rows) == ["Without keys, all reach 0.8 of the messages of a bare aiohttp websocket."]
    (line,) = verdict([*rows, Row(TRANSPORT, 4_000, measured, 0.794)])
    assert line == (
        "Below the target: transport, 4,000 bytes: 0.79 of the messages of a bare aiohttp websocket, not 0.8"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--sizes", "4k,2M"], "--sizes: 2000000 is not possible; give 16 to "),
        (["--sizes", "8"], "--sizes: 8 is not possible; give 16 to "),
        (["--json", "/nowhere/wire.json"], "--json: '/nowhere/wire.json' is not possible; give a file in"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "wire", *arguments]) == 2
    printed = capsys.readouterr().err
    assert problem in printed
    assert printed.count("\n") == 1
