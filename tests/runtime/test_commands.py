"""The commands as a user runs them: what they print, what they write, how they end."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from peer.bench.exactness import METHODS, NETWORKS, Scale, measure
from peer.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S = 120  # for one command; a hang must fail, not wait
COLUMNS = {"local", "local_all", "shared", "personal"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "peer.cli", *arguments]


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, ended in any case."""
    with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_swarm_prints_a_verdict_and_writes_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out = tmp_path / "found.json", tmp_path / "out"
    assert (
        main(
            [
                "swarm",
                "--agents",
                "3",
                "--ticks",
                "45",
                "--tick-ms",
                "20",
                "--json",
                str(found),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    for text in ("local only", "local on train + validation", "shared + personal", "paired", "bottom decile"):
        assert text in printed
    result = read(found)
    assert [agent["id"] for agent in result["agents"]] == ["agent-0", "agent-1", "agent-2"]
    assert result["ticks"] >= 45
    assert result["interrupted"] is False
    for agent in result["agents"]:
        assert set(agent["accuracy"]) == COLUMNS
        assert all(0 <= accuracy <= 1 for accuracy in agent["accuracy"].values())
        assert agent["messages"]["sent"] > 0
        assert agent["messages"]["received"] > 0
    assert set(result["summary"]) == COLUMNS
    for column, numbers in result["summary"].items():
        values = [agent["accuracy"][column] for agent in result["agents"]]
        assert numbers["mean"] == pytest.approx(sum(values) / 3)
        assert min(values) <= numbers["bottom_decile"] <= numbers["mean"]
    assert read(out / "result.json") == result
    assert read(out / "config.json")["versions"]["torch"]
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {line["id"] for line in metrics} <= {"agent-0", "agent-1", "agent-2"}
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert {"EpochEntered", "PeerArrived"} <= {line["event"] for line in events}
    assert " is gone" not in printed, "that they say goodbye at the end is no news"
    assert "PeerDeparted" not in {line["event"] for line in events}
    with np.load(out / "state" / "agent-0.npz") as state:
        assert state["hyperparameters/bias"].shape == (10,)
        assert np.abs(state["hyperparameters/bias"]).max() > 0


def test_simulate_gives_the_same_digest_twice_and_another_for_another_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def digest(seed: int, name: str) -> str:
        path = tmp_path / name
        arguments = ["simulate", "--agents", "3", "--ticks", "25", "--reorder", "0.1", "--duplicate", "0.1"]
        assert (
            main([*arguments, "--delay", "exponential:40ms", "--seed", str(seed), "--json", str(path)]) == 0
        )
        result = read(path)
        assert result["digest"] in capsys.readouterr().out
        assert set(result["summary"]) == COLUMNS
        return str(result["digest"])

    first = digest(0, "a.json")
    assert digest(0, "b.json") == first
    assert digest(1, "c.json") != first


def test_synthetic_reports_errors_against_the_closed_form(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    arguments = [
        "simulate",
        "--task",
        "synthetic",
        "--agents",
        "4",
        "--ticks",
        "300",
        "--wire-dtype",
        "float64",
    ]
    assert main([*arguments, "--json", str(path)]) == 0
    for agent in read(path)["agents"]:
        assert max(agent["error"].values()) < 1e-6


def test_a_run_ends_when_it_is_settled(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    arguments = ["simulate", "--task", "synthetic", "--agents", "3", "--until", "residual:0.05"]
    assert main([*arguments, "--until", "ticks:5000", "--json", str(path)]) == 0
    result = read(path)
    assert result["config"]["until"] == ["residual:0.05", "ticks:5000"]
    assert all(agent["residual"] <= 0.05 for agent in result["agents"])
    assert 0 < result["ticks"] < 5000


def test_ctrl_c_ends_a_swarm_with_the_results_so_far(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    arguments = ["--agents", "2", "--ticks", "100000", "--json", str(path), "--out", str(tmp_path / "out")]
    with running("swarm", *arguments) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "tick" in line:  # it is learning
                process.send_signal(signal.SIGINT)
                break
        rest, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert "the results so far" in rest
    assert read(path)["interrupted"] is True


def test_two_machines_learn_together_from_one_address(tmp_path: Path) -> None:
    """Two processes, as on two machines: the second is told where the first listens."""
    common = ["--listen", "127.0.0.1:0", "--no-zeroconf", "--tick-ms", "20"]
    nobody = "127.0.0.1:9"
    with running(
        "run", "--shard", "1/2", *common, "--peer", nobody, "--json", str(tmp_path / "first.json")
    ) as first:
        assert first.stdout is not None
        listening = next(line for line in first.stdout if "listens on" in line)
        address = listening.split("listens on ")[1].split(",")[0]
        second = subprocess.run(
            command(
                *("run", "--shard", "2/2", *common, "--peer", address),
                *("--ticks", "120", "--json", str(tmp_path / "second.json")),
            ),
            check=True,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=LIMIT_S)
    assert first.returncode == 0
    assert "This agent is" in second.stdout
    for name in ("first", "second"):
        (agent,) = read(tmp_path / f"{name}.json")["agents"]
        assert agent["messages"]["received"] > 0
        assert agent["messages"]["sent"] > 0
        assert set(agent["accuracy"]) == COLUMNS


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["swarm", "--task", "digit"], "--task: 'digit' is not possible; give one of digits, synthetic"),
        (["run", "--task", "mine.py"], "--task: 'mine.py' is not possible; it cannot be read: No such file"),
        (["swarm", "--personalization", "x"], "personalization: 'x' is not possible; give one of none, bias"),
        (["swarm", "--agents", "500"], "agents: 500 is not possible; 1797 digits do not give each device 10"),
        (["swarm", "--drop", "30"], "--drop: '30' is not possible; give a number from 0 to 1"),
        (["swarm", "--delay", "soon"], "--delay: delay = 'soon': 'soon' is no time with a unit; write 20ms"),
        (["swarm", "--fanout", "0"], "fanout: 0 is not possible; give a whole number from 1 to 64"),
        (["swarm", "--momentum", "1"], "momentum: 1.0 is not possible; give 0 or more, and below 1"),
        (["swarm", "--solver", "x"], "solver: 'x' is not possible; give one of tracking"),
        (
            ["swarm", "--model-step-size", "nan"],
            "--model-step-size: nan is not possible; give a finite number",
        ),
        (["swarm", "--agents", "0"], "--agents: '0' is not possible; give a whole number, 1 or more"),
        (["swarm", "--ticks", "x"], "--ticks: 'x' is not possible; give a whole number"),
        (["swarm", "--json", "/nowhere/x"], "json: '/nowhere/x' is not possible; give a file in a folder"),
        (["run", "--shard", "9/8"], "shard: '9/8' is not possible; give I/N with 1 <= I <= N, such as 3/8"),
        (["run", "--listen", "here"], "has no port: write HOST:PORT"),
        (["run", "--swarm", "x" * 100], "swarm: 'xxx"),
        (["run", "--peer", "nowhere"], "has no port: write HOST:PORT"),
        (["swarm", "--out", "/proc/x"], "--out: '/proc/x' is not possible; it cannot be written: No such"),
        (["swarm", "--json", "/proc/x"], "--json: '/proc/x' is not possible; it cannot be written: No such"),
        (["swarm", "--json", "/"], "json: '/' is not possible; give a file in a folder"),
    ],
)
def test_a_bad_request_is_refused_in_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "arguments", [["swarm", "--agents"], ["swarm", "5"], ["run", "--lissten", "x"], ["dance"], []]
)
def test_what_the_parser_refuses_is_one_line_too(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_with_something_in_it_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").write_text("results")
    assert main(["swarm", "--out", str(tmp_path)]) == 2
    assert "give a folder that is new or empty" in capsys.readouterr().err
    assert (tmp_path / "precious").read_text() == "results"


def test_a_port_in_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["run", "--listen", address, "--ticks", "1"]) == 1
    assert "choose another port" in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from peer.options import make_parser as m; m().format_help(); print(sorted(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "aiohttp", "zeroconf", "sklearn", "scipy", "rich"):
        assert f"'{heavy}'" not in loaded


def test_bench_exactness_prints_every_network_and_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.json"
    assert main(["bench", "exactness", "--agents", "3", "--ticks", "10", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    table = read(path)
    assert len(table["cells"]) == len(NETWORKS) * len(METHODS)
    for name in (*METHODS, *(network.name for network in NETWORKS)):
        assert name in printed
    assert all(cell["messages"] > 0 and cell["bytes"] > 0 for cell in table["cells"])


def test_bench_exactness_tells_the_methods_apart() -> None:
    """Reference: DESIGN, section 2; 30 % silent loss."""
    (lossy,) = (network for network in NETWORKS if network.name == "30 % loss")
    cells = {
        method: measure(Scale(agents=4, ticks=300, step_size=0.2, seed=0), (lossy, method))
        for method in METHODS
    }
    assert (
        cells["tracking"].hypergradient_error < 1e-3 < cells["push-sum SGP, running sums"].hypergradient_error
    )
    broken = cells["shares sent"].model_error
    assert math.isnan(broken) or broken > 1e-1
