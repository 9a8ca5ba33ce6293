"""What an agent was given, given once more: the same effects, or the first input that leads elsewhere."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import peer
from peer import assembly
from peer.errors import SettingError
from peer.events import Compute
from peer.hunt.quadratics import QuadraticLearner
from peer.hunt.trial import Trial
from peer.hunt.world import draw
from peer.membership import Membership
from peer.personalization import personalization
from peer.scenario import Kill, Leave, Pause, Restart, member_names
from peer.settings import AgentSettings
from peer.trace.files import Trace, Traces
from peer.trace.origins import of_task
from peer.trace.outline import difference
from peer.trace.records import MAGIC, Input, TraceError
from peer.trace.replay import replay
from peer.virtual_swarm import Swarm, reproducible_torch
from tests.agent_traces import GIVEN, MANY_BYTES, contents, hunted, quiet, replayed, rewritten
from tests.unit.driving import push
from wire import DecodeError, FaultPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAMES = member_names(3)
SETTINGS = AgentSettings(tick_s=1.0, warm_up_ticks=5.0, model_step_size=0.1, adjoint_step_size=0.1)
FAULTS = FaultPlan(drop=0.2, delay_s=0.7, duplicate=0.1, reorder=0.1)


def classifiers() -> list[peer.ModuleProblem]:
    """Small, with samples that are drawn in batches: where an agent has got to in them matters."""
    problems = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        bias = personalization("bias")
        inputs = torch.randn(40, 3, generator=generator)
        sets = [(part, (part.sum(dim=1) > 0).long()) for part in inputs.split((20, 14, 6))]
        module = torch.nn.Linear(3, 2)
        with torch.no_grad():
            module.weight.fill_(0.1)
            module.bias.zero_()
        problems.append(peer.ModuleProblem(module, *sets, batch_size=6, personalization=bias, seed=seed))
    return problems


def simulated(
    folder: Path,
    problems: Sequence[Any],
    *,
    until_s: float = 40.0,
    bytes_max: int = MANY_BYTES,
    say: Callable[[str], None] = quiet,
    only: str | None = None,
    **more: Any,
) -> str:
    """The digest of a run that leaves traces."""
    traces = Traces(folder, GIVEN, NAMES, only=only, bytes_max=bytes_max, is_real=False, say=say)
    with reproducible_torch(), contextlib.closing(traces):
        swarm = Swarm(problems, SETTINGS, faults=FAULTS, seed=1, notice_s=None, traces=traces, **more)
        swarm.simulation.run_until(until_s)
        return swarm.simulation.digest()


def quadratics() -> list[peer.QuadraticProblem]:
    generator = torch.Generator().manual_seed(0)
    return [peer.QuadraticProblem.random(generator, dimension=4) for _ in range(3)]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one life, in a world with troubles."""
    folder = tmp_path_factory.mktemp("trace")
    simulated(folder, quadratics(), until_s=60.0, scenario=[Kill(1, 25.0), Restart(1, 28.0, with_state=True)])
    return folder / "agent-0.0"


# ---- equal inputs, equal effects


@pytest.mark.parametrize("seed", [3, 8, 12])
def test_every_life_of_a_random_world_replays(seed: int, tmp_path: Path) -> None:
    """Crashes with and without state, cuts, liars; seed 8 sends real bytes. The world does not notice."""
    verdict = hunted(seed, tmp_path)
    assert verdict == Trial(draw(seed)).run()
    paths = sorted(tmp_path.iterdir())
    assert len(paths) >= len(draw(seed).names) - 1
    for path in paths:
        found = replayed(path)
        assert found.difference is None
        assert found.inputs == len(contents(path)[2])


def test_agents_with_data_replay_and_go_on_from_what_they_kept(tmp_path: Path) -> None:
    problems = classifiers()
    changes = [Kill(1, 12.0), Restart(1, 15.0, with_state=True), Pause(2, 5.0, 4.0)]
    changes += [Leave(2, 20.0), Restart(2, 22.0, with_state=False)]
    digest = simulated(tmp_path, problems, scenario=changes)
    assert digest == simulated(tmp_path / "again", problems, scenario=changes, only="agent-0")
    assert [path.name for path in sorted((tmp_path / "again").iterdir())] == ["agent-0.0"]
    lives = ["agent-0.0", "agent-1.0", "agent-1.1", "agent-2+1.1", "agent-2.0"]
    assert [path.name for path in sorted(tmp_path.iterdir()) if path.is_file()] == lives
    for name in lives:
        found = replayed(tmp_path / name, problems[int(name[6])])
        assert found.difference is None
        assert found.inputs > 20


def test_restarted_agents_are_given_what_they_kept(tmp_path: Path) -> None:
    changes = [Kill(0, 50.0), Restart(0, 52.0, with_state=True)]
    simulated(tmp_path, quadratics(), until_s=70.0, scenario=changes)
    names = [one.name for one in contents(tmp_path / "agent-0.1")[2]]
    assert names[0] == "restore"
    assert replayed(tmp_path / "agent-0.1", quadratics()[0]).difference is None
    other = replayed(tmp_path / "agent-0.1", quadratics()[1])
    assert other.difference is not None
    assert other.difference.name == "computed"


def test_nobody_pays_who_wants_no_trace() -> None:
    agent, _ = assembly.make_agent(
        quadratics()[0], SETTINGS, peer="a", swarm="s", seed=0, now=0.0, founder=True, trace=None
    )
    assert type(agent) is peer.agent.Agent


def test_no_sample_is_in_a_trace(tmp_path: Path) -> None:
    problems = classifiers()
    simulated(tmp_path, problems, until_s=240.0, bytes_max=360_000)
    paths = list(tmp_path.iterdir())
    assert len(paths) == 9
    written = b"".join(path.read_bytes() for path in paths)
    rows = [
        row
        for one in problems
        for samples in (one.training_set, one.validation_set, one.test_set)
        for row in samples[0]
    ]
    assert len(rows) == 120
    for row in rows:
        for number in row.double():
            assert number.numpy().tobytes() not in written
        for first in range(len(row) - 1):  # four bytes alone are somewhere by chance
            assert row[first : first + 2].numpy().tobytes() not in written


# ---- bounded


@pytest.mark.parametrize("kind", [classifiers, quadratics])
def test_files_take_turns_and_each_replays_alone(kind: Callable[[], list[Any]], tmp_path: Path) -> None:
    problems, bytes_max = kind(), 320_000
    simulated(tmp_path, problems, until_s=240.0, bytes_max=bytes_max)
    for seat, name in enumerate(NAMES):
        paths = [tmp_path / f"{name}.0{suffix}" for suffix in ("", ".1", ".2")]
        assert bytes_max / 2 < sum(path.stat().st_size for path in paths) <= bytes_max
        firsts = []
        for path in paths:
            beginning, state, inputs = contents(path)
            assert (state is None) == (path == paths[0])
            assert beginning["first"] == inputs[0].number
            firsts.append((inputs[0].number, inputs[-1].number))
            found = replayed(path, kind()[seat])
            assert found.difference is None
            assert found.inputs == len(inputs)
        assert firsts[0][0] == 0
        earlier, later = sorted(firsts[1:])
        assert earlier[0] > firsts[0][1] + 1, "so it has turned more than once"
        assert later[0] == earlier[1] + 1, "nothing is missing between the last two"
        assert max(one.now for one in contents(max(paths[1:], key=_first))[2]) > 235.0


def _first(path: Path) -> int:
    return int(contents(path)[0]["first"])


def test_what_does_not_fit_leaves_no_gap_within_a_file(tmp_path: Path) -> None:
    """While an agent computes its state cannot be written: what comes then may have to be left out."""
    trace = Trace(tmp_path / "one", GIVEN, bytes_max=200_000, is_real=False, say=quiet)
    agent, _ = assembly.make_agent(
        quadratics()[0], SETTINGS, peer="a", swarm="s", seed=0, now=0.0, founder=True, trace=trace
    )
    agent.handle_timer(1.0)
    (work,) = [effect.work for effect in agent.take_effects() if isinstance(effect, Compute)]
    for number in range(2_000):
        agent.peer_found(f"peer-{number % 10}", 1.0 + number / 1000)
    agent.computed(work(), 2.0)
    agent.peer_found("another", 2.0)
    trace.close()
    inputs = [contents(tmp_path / name)[2] for name in ("one", "one.1")]
    assert [one.number for one in inputs[0]] == list(range(len(inputs[0])))
    assert len(inputs[0]) < 2_000
    assert [(one.number, one.name) for one in inputs[1]] == [(2_002, "peer_found")]
    assert replayed(tmp_path / "one.1", quadratics()[0]).difference is None


def test_a_limit_too_small_for_the_agent_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    digest = simulated(tmp_path, quadratics(), bytes_max=6_000, say=told.append, only="agent-1")
    assert digest == simulated(tmp_path / "more", quadratics())
    (line,) = told
    assert line.startswith(f"the trace in {tmp_path}/agent-1.0 ends here: the agent's state takes ")
    assert line.endswith("give --trace-mb 1 or more")
    assert replayed(tmp_path / "agent-1.0", quadratics()[1]).difference is None


def test_a_folder_that_goes_away_ends_the_trace_and_not_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    folder = tmp_path / "folder"

    def move(self: Trace, first: int, state: bytes | None) -> None:
        if state is not None:
            folder.rename(tmp_path / "elsewhere")
        real(self, first, state)

    real = Trace._begin
    monkeypatch.setattr(Trace, "_begin", move)
    simulated(folder, quadratics(), until_s=150.0, bytes_max=300_000, say=told.append, only="agent-0")
    (line,) = told
    assert f"the trace in {folder}/agent-0.0 ends here: [Errno 2] No such file" in line
    assert replayed(tmp_path / "elsewhere" / "agent-0.0", quadratics()[0]).difference is None


def test_a_disk_that_is_full_at_the_very_end_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    trace = Trace(tmp_path / "one", GIVEN, bytes_max=MANY_BYTES, is_real=True, say=told.append)
    trace.close()
    assembly.make_agent(
        quadratics()[0], SETTINGS, peer="a", swarm="s", seed=0, now=0.0, founder=True, trace=trace
    )
    file, trace._file = trace._file, Failing()  # type: ignore[assignment]
    trace.close()
    assert file is not None
    file.close()
    assert told == [f"the trace in {tmp_path}/one may be incomplete: [Errno 28] full"]
    trace.close()


class Failing:
    def close(self) -> None:
        raise OSError(errno.ENOSPC, "full")


def test_a_full_disk_ends_the_trace_and_not_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    left = itertools.count(30, -1)

    def write(self: Trace, data: bytes) -> None:
        if next(left) <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, data)

    real = Trace._write
    monkeypatch.setattr(Trace, "_write", write)
    simulated(tmp_path, quadratics(), say=told.append)
    assert len(told) == 3
    assert all("ends here: [Errno 28] No space left" in line for line in told)


def test_an_optimizer_that_nobody_can_make_again_is_told(tmp_path: Path) -> None:
    """Only what has a name can be made again."""
    told: list[str] = []
    simulated(tmp_path, [Unwritable(one) for one in quadratics()], bytes_max=50_000, say=told.append)
    assert all("a trace cannot hold a" in line for line in told)
    assert len(told) == 3


class Unwritable:
    """A problem whose position in its data is something of its own."""

    def __init__(self, problem: Any) -> None:
        self.model, self.hyperparameters = problem.model, problem.hyperparameters
        self.inner_loss, self.outer_loss = problem.inner_loss, problem.outer_loss
        self.place = self

    def batches(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> None:
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"place": torch.zeros(1, device="meta")}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        raise NotImplementedError


def test_files_that_cannot_be_had_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}")
    with pytest.raises(SettingError, match=r"trace: .* is not possible; it has to be a folder"):
        Traces(tmp_path / "file", GIVEN, NAMES, only=None, bytes_max=9, is_real=False, say=quiet)
    with pytest.raises(
        SettingError, match="trace_agent: 'bob' is not possible; give one of agent-0, agent-1"
    ):
        Traces(tmp_path, GIVEN, NAMES, only="bob", bytes_max=9, is_real=False, say=quiet)
    with pytest.raises(SettingError, match="it cannot be written"):
        begun(tmp_path / "nowhere" / "file")
    with pytest.raises(SettingError, match=re.escape("'/dev/null' is not possible; /dev/null is there and")):
        begun(Path("/dev/null"))


def begun(path: Path) -> None:
    trace = Trace(path, GIVEN, bytes_max=MANY_BYTES, is_real=False, say=quiet)
    with contextlib.closing(trace):
        assembly.make_agent(
            quadratics()[0], SETTINGS, peer="a", swarm="s", seed=0, now=0.0, founder=True, trace=trace
        )


@pytest.mark.parametrize("suffix", ["", ".1", ".2", ".before", ".before.1", ".before.2"])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_no_file_of_somebody_is_moved_or_written_over(suffix: str, kind: str, tmp_path: Path) -> None:
    others = [tmp_path / f"one{other}" for other in ("", ".1", ".before", ".before.2")]
    odd = tmp_path / f"one{suffix}"
    for path in others:
        path.write_bytes(MAGIC + path.name.encode())
    odd.unlink(missing_ok=True)
    match kind:
        case "file":
            odd.write_text("my notes")
        case "folder":
            odd.mkdir()
        case _:
            odd.symlink_to(tmp_path / "nowhere")
    told = f"trace: '{tmp_path}/one' is not possible; {odd} is there and is no trace; move it, or give"
    with pytest.raises(SettingError, match=re.escape(told)):
        begun(tmp_path / "one")
    assert sorted(tmp_path.iterdir()) == sorted({odd, *others})
    assert all(path.read_bytes() == MAGIC + path.name.encode() for path in others if path != odd)
    if kind == "file":
        assert odd.read_text() == "my notes"


@pytest.mark.parametrize("name", ["agent-0.0", "agent-1.3.before.2", "agent-1+1.0.1"])
def test_files_of_somebody_among_the_traces_of_many_are_refused_at_once(name: str, tmp_path: Path) -> None:
    (tmp_path / "agent-0.0.before").touch()  # as a full disk leaves it
    (tmp_path / "agent-2.toml").write_text("mine")
    (tmp_path / name).write_text("mine")
    told = f"trace: '{tmp_path}' is not possible; {tmp_path}/{name} is there and is no trace"
    with pytest.raises(SettingError, match=re.escape(told)):
        Traces(tmp_path, GIVEN, NAMES, only=None, bytes_max=9, is_real=False, say=quiet)
    (tmp_path / name).unlink()
    Traces(tmp_path, GIVEN, NAMES, only=None, bytes_max=9, is_real=False, say=quiet).close()


def test_the_trace_of_a_process_before_is_kept(tmp_path: Path) -> None:
    for only, until_s in (("agent-0", 200.0), ("agent-0", 3.0)):
        simulated(tmp_path, quadratics(), until_s=until_s, bytes_max=300_000, only=only)
    names = ["agent-0.0", "agent-0.0.before", "agent-0.0.before.1", "agent-0.0.before.2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert all(replayed(path, quadratics()[0]).difference is None for path in tmp_path.iterdir())
    simulated(tmp_path, quadratics(), until_s=5.0, bytes_max=300_000, only="agent-0")
    assert sorted(path.name for path in tmp_path.iterdir()) == names[:2]
    assert (tmp_path / "agent-0.0").stat().st_mode & 0o077 == 0, "what was sealed on the way lies open in it"


# ---- what leads elsewhere is found


def test_a_changed_byte_of_a_message_is_found_where_it_matters(trace: Path) -> None:
    """That is the tick which takes it in; a late message is not taken in at all."""
    beginning, state, inputs = contents(trace)
    found_after = []
    for place, one in enumerate(inputs[50:110], start=50):
        if one.name == "receive" and len(one.arguments[1]) > 300:
            form, data = one.arguments
            changed = replace(one, arguments=[form, data[:-1] + bytes([data[-1] ^ 1])])
            played = replay(
                rewritten(beginning, state, [*inputs[:place], changed, *inputs[place + 1 :]]), quadratics()[0]
            )
            if played.difference is not None:
                assert played.inputs == played.difference.number
                assert played.difference.name == "computed"
                found_after.append(played.difference.number - place)
    assert len(found_after) > 8
    assert all(0 < inputs_between < 10 for inputs_between in found_after)


def test_a_changed_setting_is_found(trace: Path) -> None:
    beginning, state, inputs = contents(trace)
    settings = beginning["made"]["settings"]
    settings["warm_up_ticks"] += 1.0
    found = replay(rewritten(beginning, state, inputs), quadratics()[0])
    assert found.difference is not None
    assert 0 < found.inputs < len(inputs)
    settings["warm_up_ticks"] -= 1.0
    assert replay(rewritten(beginning, state, inputs), quadratics()[0]).difference is None


def test_a_lost_input_is_found(trace: Path) -> None:
    beginning, state, inputs = contents(trace)
    ticks = [n for n, one in enumerate(inputs) if one.name == "handle_timer"]
    found = replay(rewritten(beginning, state, inputs[: ticks[5]] + inputs[ticks[5] + 1 :]), quadratics()[0])
    assert found.difference is not None
    assert found.difference.number == ticks[5] + 1
    assert "nothing was to be computed" in found.difference.what


def test_what_the_difference_is_is_told() -> None:
    def send(**fields: object) -> list[object]:
        return ["Send", {"targets": ["a"], "sequence": 5, **fields}]

    assert difference({"effects": [send()]}, {"effects": [send()]}) is None
    nan = {"result": {"loss": float("nan")}}
    assert difference(nan, {"result": {"loss": float("nan")}}) is None
    told = {
        "effects: 0: Send: sequence: expected 5, found 6": ([send()], [send(sequence=6)]),
        "effects: expected Send, found Send, Compute": ([send()], [send(), ["Compute", {}]]),
        "effects: expected Send, found nothing": ([send()], None),
        "effects: 0: 0: expected 'Send', found 'Compute'": ([send()], [["Compute", {}]]),
        "effects: 0: Send: more: expected nothing, found 1": ([send()], [send(more=1)]),
        "effects: expected nothing, found Send": ([], [send()]),
    }
    for line, (expected, found) in told.items():
        assert difference({"effects": expected}, {"effects": found}) == line
    assert difference({"a": 1, "b": [2]}, {"b": [2], "a": 1}) is None, "order means nothing in a map"
    assert difference({"x": 0.0}, {"x": -0.0}) == "x: expected 0.0, found -0.0"


def test_a_bug_is_in_the_trace_and_comes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last input of a file is the one that met it."""

    def fail_once(self: QuadraticLearner, *arguments: Any) -> Any:
        if random.Random(self.task.centre[0]).random() < 2.0 and arguments[0].units[0] != 0:
            raise ZeroDivisionError("planted")
        return evaluate(self, *arguments)

    evaluate = QuadraticLearner.evaluate
    monkeypatch.setattr(QuadraticLearner, "evaluate", fail_once)
    verdict = hunted(12, tmp_path)
    assert "planted" in verdict.violation
    # The computation fails in its driver: it is no input, and nothing comes after it.
    ends = [contents(path)[2][-1] for path in tmp_path.iterdir()]
    assert "handle_timer" in {one.name for one in ends}
    monkeypatch.undo()
    assert all(replayed(path).difference is None for path in tmp_path.iterdir())


def test_an_input_that_fails_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Membership, peer: str, now: float, address: str, **_: object) -> None:
        if peer == "c" and not address:
            raise RuntimeError("planted")

    trace = Trace(tmp_path / "one", GIVEN, bytes_max=MANY_BYTES, is_real=False, say=quiet)
    agent, _ = assembly.make_agent(
        quadratics()[0], SETTINGS, peer="a", swarm="s", seed=0, now=0.0, founder=True, trace=trace
    )
    with pytest.raises(DecodeError):
        agent.receive(push("b", arrays=()), 0.5)
    agent.peer_seen("b", 1, 0.5)
    monkeypatch.setattr(Membership, "find", fail)
    with pytest.raises(RuntimeError):
        agent.peer_found("c", 0.5)
    agent.peer_gone("b", 0.6)
    agent.listens_at("host:1")
    agent.leave(0.7)
    trace.close()
    inputs = contents(tmp_path / "one")[2]
    raised = [one.outcome.get("raised", "").split(":")[0] for one in inputs]
    assert raised == ["refused", "", "RuntimeError", "", "", ""]
    assert replayed(tmp_path / "one", quadratics()[0]).difference is None


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("dance", []), ("receive", []), ("receive", ["frame", b""]), ("peer_seen", [1, 2]), ("restore", [b""])],
)
def test_what_is_no_input_is_a_difference(name: str, arguments: list[object], trace: Path) -> None:
    beginning, state, inputs = contents(trace)
    found = replay(
        rewritten(beginning, state, [inputs[0], Input(1, 1.0, name, arguments, {})]), quadratics()[0]
    )
    assert found.inputs == 1
    assert found.difference is not None
    assert found.difference.what.startswith("raised: expected nothing, found ")


def test_messages_of_an_older_protocol_are_kept_whole(tmp_path: Path) -> None:
    """They name no targets, which the newest version cannot say."""
    trace = Trace(tmp_path / "one", GIVEN, bytes_max=MANY_BYTES, is_real=False, say=quiet)
    agent, _ = assembly.make_agent(
        quadratics()[0], SETTINGS, peer="a", swarm="s", seed=0, now=0.0, founder=True, trace=trace
    )
    agent.peer_seen("b", 0, 0.0)
    arrays = tuple(torch.ones(length) for length in agent.solver.array_lengths(0))
    own = agent.identity
    agent.receive(push("b", swarm="s", fingerprint=own.fingerprint, arrays=arrays), 0.5)
    trace.close()
    assert contents(tmp_path / "one")[2][-1].arguments[0] == "value"
    assert replayed(tmp_path / "one", quadratics()[0]).difference is None


# ---- what cannot be replayed here


def test_a_task_that_is_not_here_is_refused(trace: Path) -> None:
    beginning, _, inputs = contents(trace)
    task = peer.tasks.make_task("synthetic", 3, 0, "none")
    origin = {**of_task(task, 3, 0, "none"), "shard": 0}
    cases: dict[str, dict[str, Any]] = {
        "its problem was given in Python": {"origin": GIVEN},
        "this machine lacks its task: task: 'chess' is not possible": {"origin": {**origin, "task": "chess"}},
        "its task was something": {"origin": {**origin, "fingerprint": "something"}},
        "origin.shard is 99, it has to be less than": {"origin": {**origin, "shard": 99}},
        "this version cannot make its agent": {"origin": origin, "made": {"settings": {}}},
        "its agent cannot be made here: fanout": {"made": {**beginning["made"], "settings": {"fanout": 0}}},
        "unexpected keyword": {"made": {**beginning["made"], "settings": {"colour": 0}}},
    }
    for told, changes in cases.items():
        with pytest.raises(TraceError, match=told):
            replay(rewritten({**beginning, **changes}, None, inputs))


def test_a_file_of_python_is_for_traces_of_one(trace: Path) -> None:
    beginning, _, inputs = contents(trace)
    origin = {"agents": 3, "seed": 0, "personalization": "none", "shard": 0, "task": "synthetic"}
    for kind, file, told in (
        ("hunt", Path("task.py"), "its task is of the hunt: leave out --task"),
        ("task", Path("task.py"), "its task is synthetic, which is built in: leave out --task"),
        ("file", None, "its task is the file synthetic, which is code: say --task FILE to execute yours"),
    ):
        changed = {**beginning, "origin": {**origin, "kind": kind}}
        with pytest.raises(TraceError, match=told):
            replay(rewritten(changed, None, inputs), task=file)


def test_a_state_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    simulated(tmp_path, quadratics(), until_s=150.0, bytes_max=300_000, only="agent-0")
    beginning, state, inputs = contents(tmp_path / "agent-0.0.1")
    assert state is not None
    cases = {
        "this is no state of an agent": b"?",
        "another version has written it: agents have _": state.replace(b"_floor", b"_colou"),
    }
    for told, changed in cases.items():
        with pytest.raises(TraceError, match=told.replace("_colour", "")):
            replay(rewritten(beginning, changed, inputs), quadratics()[0])
    generator = torch.Generator().manual_seed(0)
    larger = peer.QuadraticProblem.random(generator, dimension=5)
    with pytest.raises(TraceError, match="the state of an agent of another model"):
        replay(rewritten(beginning, state, inputs), larger)


def test_built_in_tasks_are_made_again(tmp_path: Path) -> None:
    task = peer.tasks.make_task("synthetic", 3, 0, "none")
    traces = Traces(
        tmp_path,
        of_task(task, 3, 0, "none"),
        NAMES,
        only=None,
        bytes_max=MANY_BYTES,
        is_real=False,
        say=quiet,
    )
    with reproducible_torch(), contextlib.closing(traces):
        swarm = Swarm(task.problems, SETTINGS, faults=FAULTS, seed=1, traces=traces)
        swarm.simulation.run_until(5.0)
    for name in NAMES:
        assert replayed(tmp_path / f"{name}.0").difference is None
    assert torch.get_deterministic_debug_mode() == 0, "set back"


def test_a_cut_file_replays_up_to_the_cut(trace: Path) -> None:
    data = trace.read_bytes()
    sizes: list[int] = []
    found = replay(io.BytesIO(data[: len(data) * 2 // 3]), quadratics()[0], progress=sizes.append)
    assert found.cut
    assert not found.damaged
    assert found.difference is None
    assert 0 < found.inputs < len(contents(trace)[2])
    assert sizes == sorted(sizes)
    damaged = bytearray(data)
    damaged[len(data) * 2 // 3] ^= 1
    found = replay(io.BytesIO(bytes(damaged)), quadratics()[0])
    assert found.damaged
    assert found.inputs > 0


@pytest.mark.parametrize("seed", [7, 104], ids=["plain", "sealed"])
def test_what_is_hunted_is_traced_to_its_end(tmp_path: Path, seed: int) -> None:
    """Found by the fuzzer of traces: who looked on was written with the state, and ended the trace."""
    told: list[str] = []
    hunted(seed, tmp_path, bytes_max=400_000, say=told.append)
    assert not told
    found = replayed(tmp_path / "agent-0.0.1")
    assert found.first > 0
    assert found.difference is None
