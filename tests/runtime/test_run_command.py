"""`hyperpush run` as people start, stop and ask it: processes of their own where signals or deaths matter."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from peer.cli import main
from peer.commands import alone
from peer.errors import StateError
from peer.scenario_file import parse_scenario
from peer.service import AgentService
from peer.tasks import scoring
from tests.runtime.agents import ring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S = 120.0  # for one process; a hang must fail, not wait
TICK_S = 0.01
SILENT_TICKS = 1500  # who is silent for so long is gone
QUICK = ("--task", "synthetic", "--tick-ms", "10", "--no-zeroconf", "--warm-up-ticks", "5")
HERE = (*QUICK, "--listen", "127.0.0.1:0")


class Started:
    """A `hyperpush run` of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "peer.cli", "run", *HERE, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self._end = threading.Timer(LIMIT_S, self.process.kill)
        self._end.start()

    def said(self, pattern: str) -> re.Match[str]:
        """The first line from here on in which this is found."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if (found := re.search(pattern, line)) is not None:
                return found
        raise AssertionError(f"never said {pattern!r}: {''.join(self.lines)}")

    def ended(self) -> int:
        assert self.process.stdout is not None
        self.lines += self.process.stdout
        return self.process.wait()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def close(self) -> None:
        self._end.cancel()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start() -> Iterator[Any]:
    started: list[Started] = []

    def start_one(*arguments: str) -> Started:
        started.append(Started(*arguments))
        return started[-1]

    yield start_one
    for one in started:
        one.close()


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [event for event in found if event["event"] == kind]


def test_agents_find_each_other_say_goodbye_and_come_back(
    start: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM: a goodbye, the results, exit code 0. With --state who comes back is who was there."""
    key = tmp_path / "key"
    key.write_text(ring(1).to_text())
    common = ("--key", str(key), "--expire-ticks", str(SILENT_TICKS))
    out = tmp_path / "out"
    first = start(*common, "--shard", "1/2", "--name", "first", "--out", str(out), "--admin", "127.0.0.1:0")
    address = first.said(r"listens on (\S+),")[1]
    first.said(f"sealed with key {ring(1).key_ids[0]}")
    url = first.said(r"status and faults: (\S+)")[1]
    names = []
    for number in (1, 2):
        again = (*common, "--shard", "2/2", "--name", "second", "--state", str(tmp_path / "state"))
        second = start(*again, "--peer", address, "--json", str(tmp_path / "found.json"))
        names.append(second.said(r"(second-\w+) listens on")[1])
        link: dict[str, Any] = {}
        while not (link.get("incarnation") == number and link["heard_by"] and link["received"]):
            assert main(["status", url, "--json"]) == 0
            links = json.loads(capsys.readouterr().out)["links"]
            link = links[0] if links else {}
        assert link["peer"] == names[-1]
        if number == 1:
            taken = tmp_path / "taken"
            assert main(["run", *HERE, *again, "--out", str(taken)]) == 2
            told = capsys.readouterr().err
            assert f"state: {tmp_path / 'state'} is in use by process {second.process.pid}" in told
            assert told.count("\n") == 1
            assert not taken.exists()
        asked_to_end = time.monotonic()
        assert second.terminate() == 0
        first.said(f"{names[-1]} is gone")
        assert time.monotonic() - asked_to_end < SILENT_TICKS * TICK_S / 2, (
            "told by silence, not by a goodbye"
        )
        (found,) = read(tmp_path / "found.json")["agents"]
        assert found["id"] == names[-1]
        assert found["messages"]["sent"] > 0
        assert found["messages"]["rejected"].keys() <= {"unknown_sender"}  # pushed to before it knew the peer
    assert first.terminate() == 0
    assert names[0] == names[1]
    arrived = [event["incarnation"] for event in events(out, "PeerArrived")]
    assert arrived == [1, 2]
    assert read(out / "result.json")["peers"] == []


def test_sigterm_lets_nobody_wait_for_a_comparison(start: Any, tmp_path: Path) -> None:
    found = str(tmp_path / "found.json")
    one = start("--task", "digits", "--name", "me", "--json", found, "--state", str(tmp_path / "state"))
    one.said("status and faults|tick ")
    assert one.terminate() == 0
    assert "Ended by SIGTERM: there was no time to compare with training alone." in "".join(one.lines)
    (agent,) = read(tmp_path / "found.json")["agents"]
    assert sorted(agent["accuracy"]) == ["personal", "shared"]
    assert list((tmp_path / "state").glob("checkpoint-*.json")), "a clean leave keeps what was learned"


SLOW = """
import threading, torch, peer

made = []


class Slow(torch.nn.Linear):
    def forward(self, inputs):
        if self.waits:
            threading.Event().wait(0.2)
        return super().forward(inputs)


def problem(shard, agents, seed, personalization):
    torch.manual_seed(0)
    module = Slow(3, 2)
    module.waits = bool(made)  # only what is scored with is slow
    made.append(shard)
    inputs = torch.randn(30, 3)
    parts = [(part, (part.sum(dim=1) > 0).long()) for part in inputs.split(10)]
    return peer.ModuleProblem(module, *parts, personalization=personalization, seed=seed)
"""


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_scoring_ends_when_somebody_cannot_wait(by: int, start: Any, tmp_path: Path) -> None:
    """SIGTERM ends the training alone, with what there is; a second Ctrl-C ends it without results."""
    task, found = tmp_path / "slow.py", tmp_path / "found.json"
    task.write_text(SLOW)
    one = start("--task", str(task), "--ticks", "300", "--json", str(found), "--name", "me")
    one.said("training alone for comparison")  # which would take 300 times 0.2 s, twice
    asked_to_end = time.monotonic()
    one.process.send_signal(by)
    while by == signal.SIGINT and one.process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.process.wait(2.0)  # one that comes before the first has been noted is the same signal
            break
        one.process.send_signal(by)
    assert one.ended() == (0 if by == signal.SIGTERM else 130)
    assert time.monotonic() - asked_to_end < 20.0, "it did not train to the end"
    if by == signal.SIGTERM:
        assert "Ended by SIGTERM: there was no time to compare with training alone." in "".join(one.lines)
        (agent,) = read(found)["agents"]
        assert sorted(agent["accuracy"]) == ["personal", "shared"]
    else:
        assert not found.exists()


def test_a_scenario_cuts_pauses_and_lets_leave(start: Any, tmp_path: Path) -> None:
    """Each agent does what the file says of it; the other notes that by silence, and that it is back."""
    file = tmp_path / "scenario.toml"
    file.write_text(
        """
        [[event]]
        at = "1s"
        cut = ["goes", "stays"]
        for = "200ms"
        [[event]]
        at = "2s"
        pause = "goes"
        for = "4s"
        [[event]]
        at = "8s"
        leave = "goes"
        """
    )
    common = ("--scenario", str(file), "--expire-ticks", "20")
    stays = start(*common, "--shard", "1/2", "--name", "stays", "--out", str(tmp_path / "out"))
    address = stays.said(r"listens on (\S+),")[1]
    own = ("--name", "goes", "--peer", address, "--json", str(tmp_path / "found.json"))
    goes = start(*common, *own, "--shard", "2/2")
    name = goes.said(r"(goes-\w+) listens on")[1]
    stays.said(f"{name} is gone")
    stays.said(f"{name} is gone")
    assert goes.ended() == 0
    assert stays.terminate() == 0
    assert len(events(tmp_path / "out", "PeerArrived")) >= 2
    (found,) = read(tmp_path / "found.json")["agents"]
    assert found["messages"]["lost_by_faults"] > 0


def test_the_same_command_again_goes_on_in_state_and_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As README promises of a crash; found where the template offers both."""
    out, state = tmp_path / "out", tmp_path / "state"
    again = ("run", *HERE, "--name", "me", "--state", str(state), "--out", str(out), "--listen-s-max", "0.1")
    for incarnation in (1, 2, 3):
        assert main([*again, "--ticks", "20"]) == 0
        printed = capsys.readouterr().out
        assert ("goes on after" in printed) == (incarnation > 1)
    assert [one["incarnation"] for one in events(out, "WentOn")] == [2, 3]
    times = [json.loads(line)["at_s"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert times == sorted(times)
    assert main(["report", str(out)]) == 0
    assert main(["run", *HERE, "--name", "me", "--out", str(out), "--ticks", "1"]) == 2
    told = capsys.readouterr().err
    assert "give a folder that is new or empty: this one is of me-" in told
    assert told.count("\n") == 1


def test_alone_is_trained_for_the_ticks_of_all_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a restart an agent was compared with one that trains for the ticks since then only."""
    asked: list[int] = []

    def note(problem: object, settings: object, ticks: int, **_: object) -> float:
        asked.append(ticks)
        return 0.5

    monkeypatch.setattr(scoring, "train_alone", note)
    again = ("run", *HERE, "--task", "digits", "--name", "me", "--state", str(tmp_path / "state"))
    for ticks in ("20", "3"):
        assert main([*again, "--listen-s-max", "0.1", "--ticks", ticks]) == 0
    printed = capsys.readouterr().out
    (first, _), (second, before) = re.findall(r"\n(\d+) ticks in [0-9.]+ s(?:, after (\d+) before)?", printed)
    in_all = int(first) + int(second)
    assert before == first
    assert asked == [int(first)] * 2 + [in_all] * 2
    assert re.search(r"  tick \d+ \(\d+ since the start\)  loss", printed)
    monkeypatch.setattr(AgentService, "ticks_before", None)
    assert main([*again, "--ticks", "1", "--json", str(tmp_path / "found.json")]) == 0
    told = "The checkpoint does not say how many ticks it is of: no comparison with training alone."
    assert told in capsys.readouterr().out
    (agent,) = read(tmp_path / "found.json")["agents"]
    assert (agent["ticks_before"], sorted(agent["accuracy"])) == (None, ["personal", "shared"])


def test_a_scenario_can_kill_the_agent(start: Any, tmp_path: Path) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text('[[event]]\nat = 0.1\nkill = "me"\n')
    killed = start("--name", "me", "--scenario", str(file))
    killed.said(r"me-\w+ is killed|me is killed")
    assert killed.ended() == 137


@pytest.mark.parametrize(("word", "told"), [("kill", "2 s: me is killed"), ("leave", "2 s: me leaves")])
def test_a_scenario_lets_the_agent_join_end_and_come_back(
    word: str, told: str, start: Any, tmp_path: Path
) -> None:
    """As in a swarm of one program: the very same process, as the same agent in a new incarnation."""
    file, out, found = tmp_path / "scenario.toml", tmp_path / "out", tmp_path / "found.json"
    changes = (("0.2s", "join"), ("2s", word), ("2.5s", "restart"))
    file.write_text("".join(f'[[event]]\nat = "{at}"\n{what} = "me"\n' for at, what in changes))
    agent = start(
        *("--name", "me", "--scenario", str(file), "--state", str(tmp_path / "state"), "--out", str(out)),
        *("--checkpoint-ticks", "2", "--json", str(found), "--duration", "600", "--listen-s-max", "0.1"),
    )
    agent.said("not there before 0.2 s, as ")
    name = agent.said(r"(me-\w+) listens on")[1]
    agent.said(told)
    agent.said(f"{name} listens on")
    agent.said(r"goes on from the checkpoint of .*, incarnation 1; now incarnation 2")
    assert agent.terminate() == 0
    (result,) = read(found)["agents"]
    assert result["id"] == name
    assert list((out / "state").glob("me-*.npz"))


def test_what_a_process_takes_to_start_is_no_time_of_its_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by a slow machine: the moment to join had passed before anybody waited for it."""
    now, told = [100.0], list[str]()
    monkeypatch.setattr(alone.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(alone.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    course = alone.Course(parse_scenario('[[event]]\nat = 0.2\njoin = "me"\n', "file"))
    now[0] = 130.0
    left = course.wait("me", argparse.Namespace(duration=10.0, until=[]), told.append)
    assert told == ["not there before 0.2 s, as file says"]
    assert (now[0], left.changes) == (130.2, ())


def test_a_scenario_that_means_nobody_here_or_ends_later_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text('[[event]]\nat = 90\nleave = "mee"\n[[event]]\nat = 1\ncut = ["mee", "you"]\n')
    assert main(["run", *HERE, "--name", "me", "--scenario", str(file), "--ticks", "5"]) == 0
    printed = capsys.readouterr().out
    assert f"{file} names mee, you; this agent is me-" in printed
    assert f"{file} goes on until 90 s" in printed


def test_a_scenario_can_let_the_agent_leave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text('[[event]]\nat = 0.1\nleave = "me"\n')
    assert (
        main(["run", *HERE, "--name", "me", "--scenario", str(file), "--json", str(tmp_path / "found")]) == 0
    )
    (found,) = read(tmp_path / "found")["agents"]
    assert found["id"].startswith("me-")
    told = "relative error of this agent, against the closed form of all 8 shards, whoever was there, is"
    assert told in capsys.readouterr().out


def test_results_are_kept_even_if_the_state_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    close = AgentService.close

    async def fails(service: AgentService) -> None:
        await close(service)
        raise StateError("state: no space left")

    monkeypatch.setattr(AgentService, "close", fails)
    assert main(["run", *HERE, "--ticks", "2", "--json", str(tmp_path / "found.json")]) == 2
    assert capsys.readouterr().err == "hyperpush run: state: no space left\n"
    assert read(tmp_path / "found.json")["ticks"] >= 2


def test_beyond_this_machine_only_with_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everywhere = ["run", *QUICK, "--listen", "0.0.0.0:0", "--ticks", "3", "--shard", "1/2"]
    out = tmp_path / "out"
    assert main([*everywhere, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("hyperpush run: --listen: '0.0.0.0:0' is not possible; whoever reaches this port")
    for remedy in ("--key FILE", "--insecure", "--listen 127.0.0.1:0"):
        assert remedy in told
    assert told.count("\n") == 1
    assert not out.exists()
    assert main([*everywhere, "--insecure"]) == 0
    assert "not authenticated or encrypted" in capsys.readouterr().out
    key = tmp_path / "key"
    key.write_text(ring(1).to_text())
    assert main([*everywhere, "--key", str(key)]) == 0
    printed = capsys.readouterr().out
    assert "sealed with key" in printed
    assert "not authenticated" not in printed


def test_who_is_to_ask_is_told_how_and_a_token_in_clear_text_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "the token"
    token.write_text("0123456789abcdef")
    clear = "The token of --admin travels in clear text"
    for host, is_warned in (("127.0.0.1", False), ("0.0.0.0", True)):  # noqa: S104  (as in the test above)
        admin = ("--admin", f"{host}:0", "--admin-token", str(token))
        assert main(["run", *HERE, *admin, "--ticks", "1"]) == 0
        printed = capsys.readouterr().out
        assert re.search(rf"\(hyperpush status http://{host}:\d+ --token '{token}'\)", printed)
        assert (clear in printed) is is_warned


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--admin-key", "FILE"], "--admin-key: 'FILE' is not possible; give --admin-cert FILE as well"),
        (["--admin-token", "FILE"], "--admin-token: 'FILE' is not possible; it holds 0 characters: give"),
        (["--admin-token", "FILE/x"], "--admin-token: 'FILE/x' is not possible; give a file with one line"),
        (
            ["--admin-cert", "FILE", "--admin-key", "FILE"],
            "--admin-cert: 'FILE, FILE' is not possible; give PEM files",
        ),
        (["--admin", "none", "--admin-cert", "FILE"], "--admin-cert: 'FILE' is not possible; with --admin"),
        (["--admin", "0.0.0.0:0"], "--admin: '0.0.0.0:0' is not possible; without a token"),
        (["--admin", "https://127.0.0.1:0"], "--admin: 'https://127.0.0.1:0' is not possible; with"),
        (
            ["--listen", "no-such-host.invalid:0", "--insecure"],
            "--listen: 'no-such-host.invalid:0' is not possible; the name 'no-such-host.invalid' cannot be",
        ),
    ],
)
def test_where_to_listen_and_who_may_ask_is_checked_before_anything_is_opened_or_written(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "empty"
    file.touch()
    written = ("--out", str(tmp_path / "out"), "--state", str(tmp_path / "state"))
    given = [argument.replace("FILE", str(file)) for argument in arguments]
    assert main(["run", *HERE, *written, *given, "--ticks", "1"]) == 2
    printed = capsys.readouterr()
    remedy = told.replace("'FILE", f"'{file}").replace(" FILE'", f" {file}'")
    assert printed.err.startswith(f"hyperpush run: {remedy}")
    assert printed.err.count("\n") == 1
    assert printed.out == "", "the agent had not begun to listen"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--allow", "{}/list"], "--allow: '{}/list' is not possible; identities are proven with keys only"),
        (["--key", "{}/none"], "--key: '{}/none' is not possible; it cannot be read: No such file"),
        (
            ["--scenario", "{}/back.toml", "--name", "me"],
            "{}/back.toml: restart: 'me at 5 s' is not possible; give --state DIR",
        ),
        (
            ["--scenario", "{}/none"],
            "is not possible; No such file or directory; give a file of TOML",
        ),
        (["--admin-cert", "{}/none"], "--admin-cert: '{}/none' is not possible; give --admin-key FILE as"),
        (
            ["--admin", "https://127.0.0.1:0"],
            "--admin: 'https://127.0.0.1:0' is not possible; with --admin-cert",
        ),
        (["--admin", "ftp://127.0.0.1:7"], "--admin: address 'ftp://127.0.0.1:7' has no usable host: write"),
        (["--state", "{}/list"], "state: {}/list cannot be used: File exists; give a directory"),
    ],
)
def test_a_bad_request_is_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list").touch()
    back = '[[event]]\nat = 1\nkill = "me"\n[[event]]\nat = 5\nrestart = "me"\n'
    (tmp_path / "back.toml").write_text(back)
    given = [argument.format(tmp_path) for argument in arguments]
    assert main(["run", *HERE, *given, "--ticks", "1"]) == 2
    error = capsys.readouterr().err
    assert told.format(tmp_path) in error
    assert error.count("\n") == 1
