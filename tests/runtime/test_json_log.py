"""`--log-format json`: every line is an object, and tells what the text tells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from peer.cli import main
from peer.display import JsonConsole, make_console, make_display
from peer.events import PeerArrived, PeerQuarantined

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def lines_of(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def test_a_swarm_says_all_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--agents", "2", "--ticks", "20", "--task", "synthetic", "--admin", "127.0.0.1:0"]
    result = tmp_path / "result.json"
    assert main(["swarm", *options, "--log-format", "json", "--json", str(result)]) == 0
    told = lines_of(capsys.readouterr().out)
    assert all({"time", "level", "event", "message"} <= line.keys() for line in told)
    assert {"said", "PeerArrived", "EpochEntered", "progress", "outcome"} <= {line["event"] for line in told}
    (page,) = (line for line in told if line["message"].startswith("page: http://127.0.0.1:"))
    assert page["level"] == "info"
    outcome = told[-1]
    kept = json.loads(result.read_text(encoding="utf-8"))
    assert outcome["event"] == "outcome"
    assert [agent["id"] for agent in outcome["agents"]] == [agent["id"] for agent in kept["agents"]]


def test_what_comes_from_the_network_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    console = make_console("json")
    assert isinstance(console, JsonConsole)
    with make_display(console, "[bold]a title[/bold] :smile:") as display:
        display.tell('a"\n{', PeerQuarantined("b\x1b[31m\n", 'it said "no"'))
        display.tell("a", PeerArrived("b", 1))
        display.say("x" * 500)
        console.print("careful", style="yellow")
    told = lines_of(capsys.readouterr().out)
    assert told[0]["message"] == "[bold]a title[/bold] :smile:"
    assert (told[1]["agent"], told[1]["level"]) == ('a"\n{', "warning")
    assert told[1]["details"] == {"peer": "b\x1b[31m\n", "reason": 'it said "no"'}
    assert told[2]["level"] == "info"
    assert told[3]["message"] == "x" * 500
    assert (told[4]["message"], told[4]["level"]) == ("careful", "warning")


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    make_console().print("[bold]no markup[/bold] :smile: [0]")
    assert capsys.readouterr().out == "[bold]no markup[/bold] :smile: [0]\n"


def test_another_format_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm", "--log-format", "xml"]) == 2
    assert "--log-format: 'xml' is not possible; give text or json" in capsys.readouterr().err
