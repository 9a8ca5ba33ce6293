"""`hyperpush chaos`: real processes to which everything happens, and nothing is lost or left behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from peer.chaos import machine, network
from peer.chaos.machine import PREFIX, Workplace
from peer.chaos.mischief import Mischief
from peer.chaos.plan import KINDS
from peer.chaos.process import ROOT, Host, Process
from peer.cli import main
from tests.runtime.agents import alive, group, quadratics, rejected, ring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and prlimit")

LIMIT_S = 60.0


@pytest.fixture
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Files for a while are made here, and none of them may be there afterwards."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not machine.mounts_below(folder)
    assert not namespaces_of(os.getpid())
    assert not list(folder.iterdir())
    assert not children_of(folder)


def namespaces_of(pid: int) -> list[Path]:
    """Networks that this process has made."""
    return list(Path("/run/netns").glob(f"{PREFIX}{pid}-*"))


def children_of(folder: Path) -> list[int]:
    """Other processes that make their files there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue  # it has ended
    return [pid for pid in found if pid != os.getpid()]


def until(done: Callable[[], object], what: str) -> None:
    """Wait for what other processes do."""
    pause = threading.Event()
    end = time.monotonic() + LIMIT_S
    while not done():
        assert time.monotonic() < end, what
        pause.wait(0.05)


class Onlooker(threading.Thread):
    """Asks the page again and again, as a browser would; once makes the links from one agent lose."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.where = f"127.0.0.1:{probe.getsockname()[1]}"
        self.answers: list[dict[str, Any]] = []
        self.metrics = ""
        self.lossy: dict[str, Any] = {}
        self.over = threading.Event()

    def run(self) -> None:
        """Until it is over."""
        while not self.over.wait(0.5):
            try:
                self.answers.append(json.loads(self._ask("/v1/live")))
                if not self.lossy and not self.answers[-1]["absent"]:
                    self.metrics = self._ask("/metrics").decode()
                    change = {"from": "agent-0", "faults": {"drop": 0.2}, "for_s": 2}
                    self.lossy = json.loads(self._ask("/v1/faults", change))
            except OSError:
                continue  # it does not listen yet, or a process does not answer in time

    def _ask(self, path: str, content: object = None) -> bytes:
        body = None if content is None else json.dumps(content).encode()
        request = Request(f"http://{self.where}{path}", body, method="GET" if body is None else "PUT")
        with urlopen(request, timeout=LIMIT_S) as answer:  # noqa: S310  (an address of ours)
            found: bytes = answer.read()
            return found


def chaos(*arguments: str) -> int:
    return main(["chaos", "--tick-ms", "20", *arguments])


def test_everything_happens_and_nothing_is_lost(
    nothing_left: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The short one: six agents, every trouble once."""
    file, onlooker = tmp_path / "scorecard.json", Onlooker()
    onlooker.start()
    where = ("--admin", onlooker.where)
    code = chaos("--agents", "6", "--processes", "3", "--minutes", "1", "--json", str(file), *where)
    onlooker.over.set()
    told = capsys.readouterr().out
    assert code == 0, told
    assert "nothing was lost" in told
    found = json.loads(file.read_text(encoding="utf-8"))
    may_unplug = "network: a namespace for each process" in told
    made = {trouble["kind"] for trouble in found["troubles"]}
    assert made == (set(KINDS) if may_unplug else set(KINDS) - {"unplug"})
    assert not [line["lost"] for line in found["scorecard"] if line["lost"]]
    assert len(found["lives"]) > 6
    assert {exit_["excuse"] for exit_ in found["exits"]} >= {"killed"}
    assert max(value for scores in found["scores"].values() for value in scores.values()) <= 1e-6
    assert set(found["peak_memory_bytes"]) == {"0", "1", "2"}
    assert found["answered_s"] > found["quiet_from_s"]

    assert f"page: http://{onlooker.where}\n" in told
    seen = {agent["status"]["peer"] for answer in onlooker.answers for agent in answer["agents"]}
    assert {peer.rpartition("-")[0] for peer in seen} == {f"agent-{number}" for number in range(6)}
    assert any(answer["absent"] for answer in onlooker.answers), "who was killed is not there"
    assert max(len(one["curves"]["at_s"]) for answer in onlooker.answers for one in answer["agents"]) > 10
    said = {event["text"] for answer in onlooker.answers for event in answer["events"]}
    assert any(text.startswith("SIGKILL: process") for text in said)
    assert any("is there" in text for text in said)
    assert len(onlooker.lossy["agents"]["agent-0"]["live"]) == 1
    assert onlooker.metrics.count("hyperpush_ticks_total{") == 6


def test_an_agent_that_does_not_come_back_is_missed(
    nothing_left: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("peer.commands.chaos.KINDS", ("kill",))
    monkeypatch.setattr("peer.chaos.plan.ALL_AT_ONCE", 0.0)
    monkeypatch.setattr("peer.chaos.plan.QUIET_S_MIN", 0.0)
    monkeypatch.setattr("peer.chaos.director.RESTART_S", 1e6)
    assert chaos("--agents", "2", "--processes", "2", "--minutes", "0.18") == 1
    told = capsys.readouterr().out
    assert re.search(r"lost: all are there at the end, .*: agent-[01]: not there at the end\n", told)
    assert "were lost" in told


@pytest.mark.parametrize("is_of_memory", [True, False])
def test_a_process_that_hangs_is_ended_by_the_watchdog(
    is_of_memory: bool,
    nothing_left: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Found by chance: without memory a process hung instead of ending, and nobody started it again."""
    monkeypatch.setattr("peer.commands.chaos.KINDS", ("memory",))
    monkeypatch.setattr("peer.chaos.director.WATCHDOG_S", 2.0)
    monkeypatch.setattr("peer.chaos.plan.QUIET_S_MIN", 0.0)

    async def hang(_: Mischief, host: Host, pid: int, *__: object) -> None:
        host.starved = is_of_memory
        os.kill(pid, signal.SIGSTOP)

    monkeypatch.setattr(Mischief, "_do", hang)
    assert chaos("--agents", "2", "--processes", "2", "--minutes", "0.5") == (0 if is_of_memory else 1)
    told = " ".join(capsys.readouterr().out.split())
    assert "has told nothing for 2 s, and was ended by SIGKILL" in told
    excuse = "hung since its memory was at the limit, ended by the watchdog"
    assert (f"({excuse})" in told) == is_of_memory
    assert ("lost: no process ends, or is refused its state, by itself" in told) != is_of_memory
    assert "is back" in told


def test_an_agent_whose_state_is_taken_away_is_not_itself_any_more(
    nothing_left: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("peer.commands.chaos.KINDS", ("kill",))
    monkeypatch.setattr("peer.chaos.plan.ALL_AT_ONCE", 0.0)
    monkeypatch.setattr("peer.chaos.plan.QUIET_S_MIN", 0.0)
    disk = Workplace.disk

    def emptied(workplace: Workplace, process: int) -> Path:
        for state in disk(workplace, process).rglob("*.key*"):
            state.unlink()
        return disk(workplace, process)

    monkeypatch.setattr(Workplace, "disk", emptied)
    assert chaos("--agents", "2", "--processes", "2", "--minutes", "0.25") == 1
    told = capsys.readouterr().out
    assert re.search(r"agent-([01]) at .* s: came back as agent-\1-\w+, it was agent-\1-\w+\n", told)


def test_a_scenario_file_happens_to_agents_in_their_processes(
    nothing_left: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario, file = tmp_path / "scenario.toml", tmp_path / "scorecard.json"
    scenario.write_text(
        """
        [[event]]
        at = 1
        kill = "agent-1"
        [[event]]
        at = 2
        drop = 0.5
        for = 2
        [[event]]
        at = 2
        pause = "agent-2"
        for = 1
        [[event]]
        at = 3
        leave = "agent-3"
        [[event]]
        at = 3
        restart = "agent-1"
        [[event]]
        at = 4
        join = "agent-0"
        [[event]]
        at = 5
        restart = "agent-3"
        with_state = false
        """,
        encoding="utf-8",
    )
    arguments = ("--agents", "4", "--processes", "4", "--scenario", str(scenario), "--json", str(file))
    code = chaos(*arguments, "--minutes", "1")
    told = capsys.readouterr().out
    assert code == 0, told
    assert "  5 s: agent-3 is back, as somebody new" in told
    lives = [(life["agent"], life["incarnation"]) for life in json.loads(file.read_text())["lives"]]
    assert sorted(lives) == [
        *(("agent-0", 1), ("agent-1", 1), ("agent-1", 2), ("agent-2", 1), ("agent-3", 1), ("agent-3", 1)),
    ]


def test_accuracies_are_those_of_an_undisturbed_run(
    nothing_left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("peer.chaos.scorecard.POINTS_MAX", 100.0)  # seconds are no time to learn digits
    scenario = tmp_path / "scenario.toml"
    scenario.touch()
    arguments = ("--agents", "2", "--processes", "1", "--task", "digits", "--scenario", str(scenario))
    assert chaos(*arguments, "--minutes", "0.05") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "the same without troubles, for comparison" in told
    assert "(undisturbed 0." in told


def test_whoever_interrupts_it_finds_nothing_left(nothing_left: Path) -> None:
    """Ctrl-C ends all; and if it is killed itself, its processes end, and the next run clears the rest."""
    command = [sys.executable, "-m", "peer.cli", "chaos", "--agents", "2", "--processes", "2"]
    interrupted = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    until(lambda: len(children_of(nothing_left)) == 3, "its workers are there")
    interrupted.send_signal(signal.SIGINT)
    told, _ = interrupted.communicate(timeout=LIMIT_S)
    assert interrupted.returncode == 130, told
    assert "interrupted; all processes have ended, and nothing is left behind" in told
    assert not list(nothing_left.iterdir())
    assert not namespaces_of(interrupted.pid)
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    until(lambda: len(children_of(nothing_left)) == 3, "its workers are there")
    one = next(pid for pid in children_of(nothing_left) if pid != killed.pid)
    os.kill(one, signal.SIGSTOP)
    killed.kill()
    killed.wait()
    until(lambda: not children_of(nothing_left), "even a stopped worker has ended")
    assert list(nothing_left.glob(f"{PREFIX}*"))
    assert Workplace(1).close() == []
    network.remove_stale()
    assert not namespaces_of(killed.pid)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--agents", "2", "--processes", "3"], "--processes: 3 is not possible; give as many as --agents 2"),
        (["--task", "chess"], "--task: 'chess' is not possible; give one of digits, synthetic"),
        (["--agents", "1"], "--agents: "),
        (["--scenario", "nowhere.toml"], "--scenario: "),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chaos(*arguments) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_scenario_that_goes_on_after_the_end_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text("[[event]]\nat = 500\ndrop = 0.5\n", encoding="utf-8")
    assert chaos("--agents", "2", "--processes", "1", "--scenario", str(scenario), "--minutes", "0.1") == 2
    assert capsys.readouterr().err == (
        "hyperpush chaos: --minutes: 0.1 is not possible; event at 500 s, the run ends at 6 s: "
        "give --minutes 8.4 or more\n"
    )


CHILD = """
import sys
for line in sys.stdin:
    try:
        what, path = line.split()
        if what == "write":
            with open(path, "w") as file:
                file.write("x")
        else:
            bytes(2**28)
        print("done", flush=True)
    except (OSError, MemoryError) as error:
        print(type(error).__name__, getattr(error, "errno", None), flush=True)
"""


@pytest.mark.parametrize("may_mount", [True, False])
def test_limits_of_other_processes_are_reached_and_lifted(
    nothing_left: Path, may_mount: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not may_mount:
        monkeypatch.setattr(machine, "_mount", lambda _: False)
    workplace = Workplace(1)
    if may_mount and not workplace.mounted:
        workplace.close()
        pytest.skip("mounting needs root")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def asked(what: str, path: str = "-") -> str:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(f"{what} {path}\n")
        child.stdin.flush()
        return child.stdout.readline().strip()

    file = str(workplace.disk(0) / "file")
    try:
        assert asked("write", file) == "done"
        workplace.fill(0, child.pid)
        assert asked("write", f"{file}.more") in ("OSError 28", "OSError 27")
        workplace.empty(0, child.pid)
        assert asked("write", file) == "done"
        machine.exhaust_files(child.pid)
        assert asked("write", file) == "OSError 24"
        machine.lift(child.pid)
        assert asked("write", file) == "done"
        machine.exhaust_memory(child.pid)
        assert asked("take").startswith("MemoryError")
        machine.lift(child.pid)
        assert asked("take") == "done"
        assert machine.peak_memory(child.pid) > 2**20
    finally:
        child.kill()
        child.communicate()
        assert workplace.close() == []
    machine.lift(child.pid)
    assert machine.peak_memory(child.pid) == 0


async def test_of_garbage_nothing_is_believed(tmp_path: Path) -> None:
    problems = quadratics(2)
    said: dict[str, int] = {}
    wanted = {
        *("malformed", "unencrypted", "wrong_key", "wrong_identity", "replayed"),
        *("wrong_swarm", "wrong_fingerprint", "epoch_jump"),
    }
    async with group() as swarm:
        for number, problem in enumerate(problems):
            await swarm.add(problem, f"agent-{number}", founder=True, keys=ring(1))
        swarm.introduce()
        swarm.run()
        victim, other = swarm.members
        nonsense = Process(tmp_path / "log", said.update)
        key = ring(1).to_text().strip()
        speaking = asyncio.create_task(
            nonsense.run("peer.chaos.nonsense", victim.record.address, "0", first=key)
        )
        try:
            await swarm.until(lambda: speaking.done() or wanted <= set(map(str, rejected(victim))))
            await swarm.until(lambda: speaking.done() or said.get("bytes", 0) > 10**6)
            assert not speaking.done(), nonsense.last_words(20)
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        assert alive(victim) == [other.record.peer]
        await swarm.learned(problems)
