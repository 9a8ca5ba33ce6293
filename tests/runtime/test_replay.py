"""Real agents leave traces that replay, and `hyperpush replay` as people use it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from peer.cli import main
from peer.state import StateDirectory
from peer.trace.files import Trace
from peer.trace.records import FORMAT, MAGIC, pack
from tests.agent_traces import GIVEN, MANY_BYTES, contents, quiet, replayed, rewritten
from tests.runtime.agents import SETTINGS, group, quadratics, ring
from wire import FaultPlan

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ("--task", "synthetic", "--agents", "3", "--ticks", "40", "--drop", "0.3")


def trace(path: Path, bytes_max: int = MANY_BYTES) -> Trace:
    return Trace(path, GIVEN, bytes_max=bytes_max, is_real=True, say=quiet)


# ---- real agents


@pytest.mark.parametrize("keys", [False, True])
async def test_real_agents_replay_over_a_crash(keys: bool, tmp_path: Path) -> None:
    """Losses, worker threads, a death, a life after it with what was kept; with keys, what was sealed."""
    problems = quadratics(3)
    options: dict[str, Any] = {"faults": FaultPlan(drop=0.2, delay_s=0.003)}
    if keys:
        options["keys"] = ring(1)
    traces = [trace(tmp_path / f"{number}") for number in range(4)]
    async with group() as swarm:

        async def add(number: int, life: int) -> Any:
            state = StateDirectory(tmp_path / f"state-{number}")
            return await swarm.add(
                problems[number],
                f"agent-{number}",
                state=state,
                trace=traces[life],
                founder=life < 3,
                **options,
            )

        services = [await add(number, number) for number in range(3)]
        swarm.introduce()
        swarm.run(*services)
        await swarm.ticks(40)
        await swarm.kill(services[2])
        back = await add(2, 3)
        for other in services[:2]:
            back.find(other.record)
            other.find(back.record)
        swarm.run(back)
        await swarm.ticks(60, services[0], services[1], back)
    for life, number in enumerate((0, 1, 2, 2)):
        traces[life].close()
        found = replayed(tmp_path / f"{life}", problems[number])
        assert found.difference is None
        assert not found.damaged
        names = [one.name for one in contents(tmp_path / f"{life}")[2]]
        assert {"listens_at", "receive", "handle_timer", "computed"} < set(names)
        assert ("leave" in names) == (life != 2)


async def test_real_agents_replay_from_the_middle(tmp_path: Path) -> None:
    """Files take turns while agents compute in threads."""
    problems = quadratics(2)
    traces = [trace(tmp_path / f"{number}", 250_000) for number in range(2)]
    async with group() as swarm:
        for number, problem in enumerate(problems):
            await swarm.add(problem, f"agent-{number}", founder=True, trace=traces[number])
        swarm.introduce()
        swarm.run()
        await swarm.ticks(600)
    for number, problem in enumerate(problems):
        traces[number].close()
        paths = [tmp_path / f"{number}{suffix}" for suffix in ("", ".1", ".2")]
        assert sum(path.stat().st_size for path in paths) <= 250_000
        for path in paths:
            found = replayed(path, problem)
            assert found.difference is None
            assert found.inputs > 0


async def test_a_changed_setting_of_a_real_agent_is_found(tmp_path: Path) -> None:
    (problem,) = quadratics(1)
    written = trace(tmp_path / "one")
    async with group() as swarm:
        await swarm.add(problem, "agent", founder=True, trace=written)
        swarm.run()
        await swarm.ticks(20)
    written.close()
    beginning, state, inputs = contents(tmp_path / "one")
    beginning["made"]["settings"]["model_step_size"] = SETTINGS.model_step_size * 1.01
    (tmp_path / "other").write_bytes(rewritten(beginning, state, inputs).getvalue())
    found = replayed(tmp_path / "other", problem)
    assert found.difference is not None
    assert found.difference.name == "computed"
    assert found.difference.what.startswith("result: ")


# ---- the commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Traces of a simulated swarm."""
    path: Path = tmp_path_factory.mktemp("traces")
    assert main(["simulate", *SMALL, "--trace", str(path)]) == 0
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[str]:
    capsys.readouterr()
    assert main(["replay", *arguments]) == code
    output = capsys.readouterr()
    return (output.out + output.err).splitlines()


def test_a_simulated_agent_is_replayed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["agent-0.0", "agent-1.0", "agent-2.0"]
    for path in folder.iterdir():
        first, last = told(capsys, str(path))
        assert re.fullmatch(rf"{path.stem}, incarnation 0, synthetic, hyperpush [0-9.]+", first)
        assert re.fullmatch(r"all [0-9,]+ inputs gave the same effects", last)


def test_stories_are_told_and_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "found.json"
    subjects = {
        "peer:agent-1": "came from it: block 0",
        "message:agent-1/0/9": "sequence",
        "hyperparameter:h": "h =",
    }
    for subject, line in subjects.items():
        lines = told(capsys, str(folder / "agent-0.0"), "--story", subject, "--json", str(written))
        story = lines[1:-1]
        assert any(line in one for one in story)
        assert all(re.match(r" +[0-9]+\.[0-9]{3} s  ", one) for one in story)
        found = json.loads(written.read_text())
        assert [one["told"] for one in found["story"]] == [one.split(" s  ", 1)[1] for one in story]
        assert found["difference"] is None
        assert found["inputs"] > 100
        assert found["beginning"]["origin"]["task"] == "synthetic"
    lines = told(capsys, str(folder / "agent-0.0"), "--story", "peer:nobody")
    assert lines[1] == "nothing of peer:nobody is in these inputs"


def test_what_differs_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beginning, state, inputs = contents(folder / "agent-0.0")
    beginning["torch"] = "1.0"
    beginning["made"]["settings"]["model_step_size"] = 0.01
    path, written = tmp_path / "changed", tmp_path / "found.json"
    path.write_bytes(rewritten(beginning, state, inputs).getvalue())
    lines = told(capsys, str(path), "--json", str(written), code=1)
    assert re.match(r"input [0-9]+ \(computed at [0-9.]+ s\): [a-z_]+: ", lines[1])
    assert re.fullmatch(r"the [0-9]+ inputs before it gave the same effects", lines[2])
    assert lines[3] == "it was written with torch 1.0: that may be why"
    assert json.loads(written.read_text())["difference"]["name"] == "computed"


def test_a_file_that_is_cut_or_damaged_is_replayed_as_far_as_it_goes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (folder / "agent-0.0").read_bytes()
    path = tmp_path / "part"
    path.write_bytes(data[: len(data) // 2])
    lines = told(capsys, str(path))
    assert re.fullmatch(r"[0-9,]+ inputs gave the same effects", lines[1])
    assert re.match(r"the file ends within a record, after input [0-9,]+: ", lines[2])
    path.write_bytes(data[: len(data) // 2] + b"?" * 99 + data[len(data) // 2 + 99 :])
    lines = told(capsys, str(path), code=1)
    assert re.match(r"the file is damaged after input [0-9,]+: ", lines[2])


def test_what_cannot_be_replayed_is_refused_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beginning, _, inputs = contents(folder / "agent-0.0")
    cases = {
        b"not at all": "it is no trace of hyperpush",
        MAGIC
        + pack("beginning", {**beginning, "format": FORMAT + 1}): f"its format is {FORMAT + 1}, this release",
        rewritten(
            {**beginning, "origin": {**beginning["origin"], "task": "chess"}}, None, inputs
        ).getvalue(): (
            "this machine lacks its task: task: 'chess' is not possible; give one of digits, synthetic"
        ),
        MAGIC + msgpack.packb(1): "its beginning is missing or damaged",
    }
    path = tmp_path / "odd"
    for data, reason in cases.items():
        path.write_bytes(data)
        (*_, line) = told(capsys, str(path), code=2)
        assert line.startswith(f"hyperpush replay: trace: '{path}': {reason}")
    (line,) = told(capsys, str(tmp_path / "nowhere"), code=2)
    assert line == f"hyperpush replay: trace: '{tmp_path}/nowhere' cannot be read: No such file or directory"
    (line,) = told(capsys, str(folder / "agent-0.0"), "--story", "agent-1", code=2)
    assert line.startswith("hyperpush replay: --story: 'agent-1' is not possible; give peer:ID, ")
    (*_, line) = told(capsys, str(folder / "agent-0.0"), "--story", "hyperparameter:x", code=2)
    assert line.endswith("its agent has no hyperparameter 'x'; there are: h")


def test_a_folder_is_answered_with_what_is_in_it_and_one_in_use_is_told_of(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(folder)]) == 2
    assert "is a folder, give one of: agent-0.0, " in capsys.readouterr().err
    (tmp_path / "agent-9.0").touch()
    assert (
        main(["simulate", "--task", "synthetic", "--agents", "2", "--ticks", "2", "--trace", str(tmp_path)])
        == 0
    )
    assert f"{tmp_path} has files of another run" in capsys.readouterr().out


def test_one_agent_of_a_swarm_is_traced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*SMALL, "--tick-ms", "5", "--trace", str(tmp_path / "new" / "folder"))
    assert main(["swarm", *arguments, "--trace-agent", "agent-1", "--trace-mb", "0.5"]) == 0
    (path, *more) = sorted((tmp_path / "new" / "folder").iterdir())
    assert path.name == "agent-1.0"
    assert sum(one.stat().st_size for one in (path, *more)) <= 500_000
    for one in (path, *more):
        assert told(capsys, str(one))[-1].startswith("all ")
    story = told(capsys, str(path), "--story", "peer:agent-0")
    assert re.match(r"20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9:]{8}\.[0-9]{3}  ", story[1]), "the time of day"


def test_an_agent_of_its_own_is_traced_in_both_its_lives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.trace"
    task = ("--task", "synthetic", "--shard", "2/3", "--tick-ms", "5", "--ticks", "30")
    where = ("--listen", "127.0.0.1:0", "--listen-s-max", "0.05", "--no-zeroconf", "--admin", "none")
    for _ in range(2):
        files = ("--state", str(tmp_path / "state"), "--trace", str(path))
        assert main(["run", *task, *where, *files]) == 0
    for one, incarnation in ((path, 2), (tmp_path / "agent.trace.before", 1)):
        lines = told(capsys, str(one))
        assert f"incarnation {incarnation}, synthetic" in lines[0]
        assert lines[-1].startswith("all ")
    assert contents(path)[2][0].name == "restore"


def test_a_world_of_the_hunt_is_traced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["hunt", "--seeds", "1", "--from-seed", "12", "--trace", str(tmp_path)]
    assert main(arguments) == 0
    digest = re.search("digest ([0-9a-f]+)", capsys.readouterr().out)
    assert main(arguments[:5]) == 0
    assert digest is not None
    assert len(list(tmp_path.iterdir())) > 1
    for path in tmp_path.iterdir():
        lines = told(capsys, str(path))
        assert "seed 12 of the hunt" in lines[0]
        assert lines[-1].startswith("all ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["simulate", "--trace-agent", "agent-0"],
            "--trace-agent: 'agent-0' is not possible; give --trace FOLDER",
        ),
        (
            ["swarm", "--agents", "2", "--trace", "x", "--trace-agent", "bob"],
            "--trace-agent: 'bob' is not possible; give one of agent-0, agent-1",
        ),
        (["hunt", "--trace", "x"], "--seeds: 100 is not possible; --story, --trace, --without are about one"),
        (["simulate", "--trace-mb", "0"], "--trace-mb: "),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    arguments: list[str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert reason in capsys.readouterr().err
