"""What `--out` keeps beside the metrics stays smaller than they are, and every sink gets the same numbers."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from peer.details import ENTRIES_KEPT_MAX, VALUES_KEPT_MAX, AgentDetails, Range, entry_names
from peer.earlier_life import earlier_life
from peer.errors import SettingError
from peer.outcome import AgentOutcome, Kind, Outcome
from peer.recorder import Recorder
from peer.report.reading import read_run
from peer.sinks import extra_sinks, numbers_of
from peer.status import LinkStatus
from peer.views import AgentView, Messages

MESSAGES = Messages(100, 1, 2, 80, 20, 3, 4, 5000, {"stale": 2})
VIEW = AgentView("agent-0", 20, 1, "running", 0.5, 0.6, math.nan, 0.9, 0.1, 0.2, 1.0, MESSAGES)
LINK = LinkStatus(
    "agent-1", "", 0, pushes_to=True, hears=True, heard_by=False, received=80, gaps=20, rtt_s=0.1234567
)
NEEDS_MLFLOW = [
    name for name in ("mlflow", "sqlalchemy", "alembic") if importlib.util.find_spec(name) is None
]


def views(time: int) -> list[AgentView]:
    return [
        dataclasses.replace(VIEW, id=f"agent-{index}", tick=20 * time, training_loss=1 / (1 + time + index))
        for index in range(3)
    ]


def details(entries: int) -> list[AgentDetails]:
    values = {"bias": tuple(0.125 for _ in range(entries))}
    return [AgentDetails(f"agent-{index}", (LINK,) * 5, values, {}) for index in range(3)]


def outcome() -> Outcome:
    scores = {"shared": 0.8, "personal": 0.9}
    agents = [AgentOutcome(f"agent-{index}", 100, 1, 0.1, scores, {}) for index in range(3)]
    return Outcome({}, Kind.ACCURACY, {"shared": "shared", "personal": "personal"}, agents, 1.0, 100)


def read_config(out: Path) -> Any:
    return json.loads((out / "config.json").read_text(encoding="utf-8"))


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_links_and_hyperparameters_take_no_more_than_metrics(tmp_path: Path) -> None:
    """However long a run takes: after every look, all of them together are at most as long as the metrics."""
    recorder = Recorder({}, None, tmp_path / "out")
    sizes = []
    for time in range(60):
        recorder.record(views(time), float(time))
        recorder.look(lambda: details(300), float(time))
        for file in recorder._files.values():
            file.flush()
        recorder._metrics._file.flush()  # type: ignore[union-attr]
        size = {
            name: (tmp_path / "out" / f"{name}.jsonl").stat().st_size
            for name in ("metrics", "links", "hyperparameters")
        }
        assert size["links"] + size["hyperparameters"] <= size["metrics"]
        sizes.append(size["links"])
    assert 5 < len(set(sizes)) < 60, "it is looked less often than metrics are taken"
    recorder.look(lambda: details(300), 59.5, last=True)
    recorder.close()
    assert read_lines(tmp_path / "out" / "links.jsonl")[-1]["at_s"] == 59.5


def test_short_details_are_kept_each_second(tmp_path: Path) -> None:
    recorder = Recorder({}, None, tmp_path / "out")
    for time in range(40):  # four times a second
        recorder.record(views(time), time / 4)
        recorder.look(lambda: [AgentDetails("agent-0", (LINK,), {}, {})], time / 4)
    recorder.close()
    rows = read_lines(tmp_path / "out" / "links.jsonl")
    assert [row["at_s"] for row in rows] == list(range(10))
    assert rows[0]["links"] == [
        {"peer": "agent-1", "pushes_to": True, "hears": True, "received": 80, "gaps": 20, "rtt_s": 0.12346}
    ]
    assert not read_lines(tmp_path / "out" / "hyperparameters.jsonl"), "there are none"


def test_what_happened_is_kept(tmp_path: Path) -> None:
    recorder = Recorder({}, None, tmp_path / "out")
    recorder.change("agent-1", "4 s: agent-1 is killed", 4.0)
    recorder.faults("agent-0", [{"start_s": index} for index in range(20)], 5.0)
    recorder.close()
    killed, faults = read_lines(tmp_path / "out" / "events.jsonl")
    assert killed == {"at_s": 4.0, "agent": "agent-1", "event": "Scenario", "what": "4 s: agent-1 is killed"}
    assert (len(faults["live"]), faults["in_force"]) == (16, 20)


def test_a_run_that_goes_on_goes_on_in_its_files(tmp_path: Path) -> None:
    first = Recorder({"seed": 1}, None, tmp_path / "out")
    first.record(views(0))
    first.close()
    second = Recorder({"seed": 2}, None, tmp_path / "out", passed_s=100.0)
    second.record(views(1))
    second.close()
    times = [row["at_s"] for row in read_lines(tmp_path / "out" / "metrics.jsonl")]
    assert times[0] < 50
    assert times[-1] >= 100
    assert json.loads((tmp_path / "out" / "config.json").read_text())["seed"] == 1


def test_an_agent_that_is_started_again_goes_on_in_its_own_folder(tmp_path: Path) -> None:
    """Whether it was ended or killed in the middle of a line; nobody else may."""
    out, said = tmp_path / "out", list[str]()
    first = Recorder({"id": "me", "seed": 1}, None, out, say=said.append)
    first.record(views(0), 7.0)
    (out / "result.json").write_text("{}")
    first.close()
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"at_s": 9.')
    for _ in range(2):
        again = Recorder({"id": "me", "seed": 2}, None, out, say=said.append)
        again.went_on("me", 71, 2)
        again.record(views(1))
        again.close()
    assert len(read_config(out)["began_before"]) == 2
    assert read_config(out)["seed"] == 2
    assert said == [f"{out} goes on after 7 s, which this agent has written there before"] * 2
    assert (out / "result.json.before").exists()
    assert not (out / "result.json").exists(), "those were of the first start"
    run = read_run(out, "out")
    assert [moment.at_s >= 7 for moment in run.moments] == [True] * 3
    assert "metrics.jsonl: 1 line is damaged and left out." in run.remarks
    assert not any("anew" in remark for remark in run.remarks)
    assert [one.told for one in run.happenings] == ["goes on from tick 71 as incarnation 2"] * 2
    with pytest.raises(
        SettingError, match="this one is of me, and only me itself, with its --state, goes on"
    ):
        Recorder({"id": "you"}, None, out)
    with pytest.raises(SettingError, match=r"give a folder that is new or empty$"):
        Recorder({}, None, out)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Empty it is as good as new."""
    out = tmp_path / "out"
    out.mkdir()
    Recorder({"id": "me"}, None, out).close()
    assert earlier_life(out, "me") is not None
    for content in (b"", b"\xff", b"[1]", b'{"id": 7}'):
        (out / "config.json").write_bytes(content)
        with pytest.raises(SettingError, match="give a folder that is new or empty"):
            Recorder({"id": "me"}, None, out)
        assert (out / "config.json").read_bytes() == content
    (out / "config.json").unlink()
    with pytest.raises(SettingError, match="give a folder that is new or empty"):
        Recorder({"id": "me"}, None, out)
    with pytest.raises(SettingError, match="give a folder that is new or empty"):
        Recorder({"id": "me"}, None, Path(__file__))


def test_entries_are_named_after_classes_where_they_are_of_them() -> None:
    named = {
        "bias": torch.zeros(2),
        "mixture.weights": torch.zeros(2),
        "grid": torch.zeros(2, 2),
        "pull": torch.zeros(()),
        "sample-weights.score": torch.zeros(ENTRIES_KEPT_MAX + 1),
    }
    assert entry_names(named, ("cat", "dog")) == {
        "bias": ["cat", "dog"],
        "mixture.weights": ["0", "1"],
        "grid": ["0,0", "0,1", "1,0", "1,1"],
        "pull": [""],
    }
    assert entry_names({"bias": torch.zeros(2)}, ())["bias"] == ["0", "1"]


def test_long_hyperparameters_are_kept_as_their_range() -> None:
    assert Range.of(torch.tensor([3.0, 1.0, 2.0])) == Range(3, 1.0, 2.0, 3.0)
    assert VALUES_KEPT_MAX >= ENTRIES_KEPT_MAX
    told = AgentDetails("a", (), {}, {"s": Range(3, 1.0, 2.0, 3.0)}).hyperparameters_line(1.0)
    assert told == {
        "at_s": 1.0,
        "agent": "a",
        "ranges": {"s": {"entries": 3, "least": 1.0, "median": 2.0, "most": 3.0}},
    }


# ---- TensorBoard and MLflow


def test_numbers_are_those_of_metrics() -> None:
    found = numbers_of(VIEW)
    assert "shared" not in found, "it is not known"
    assert found["messages/rejected"] == 2
    assert (found["personal"], found["messages/bytes_sent"]) == (0.9, 5000)


@pytest.mark.parametrize("package", ["tensorboard", "mlflow"])
def test_a_package_that_is_missing_is_named(
    package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    given = {"tensorboard": (tmp_path, None), "mlflow": (None, "sqlite:///runs.db")}[package]
    with pytest.raises(SettingError, match=rf"pip install 'hyperpush\[{package}\]'"):
        extra_sinks(*given)


class Failing:
    """A sink whose disk is full."""

    def record(self, at_s: float, views: object) -> None:
        raise OSError(28, "No space left on device")

    def finish(self, outcome: object) -> None:
        raise AssertionError("it has ended")

    def close(self) -> str | None:
        raise AssertionError("it has ended")


def test_a_sink_that_fails_ends_alone(tmp_path: Path) -> None:
    said: list[str] = []
    recorder = Recorder({}, None, tmp_path / "out", sinks=[lambda _: Failing()], say=said.append)
    for time in range(3):
        recorder.record(views(time), float(time))
    recorder.close()
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert len(read_lines(tmp_path / "out" / "metrics.jsonl")) == 9


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_gets_the_numbers_of_metrics(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recorder = Recorder({}, None, tmp_path / "out", sinks=extra_sinks(tmp_path / "events", None))
    for time in range(3):
        recorder.record([dataclasses.replace(VIEW, id="../a b", tick=20 * time)], float(time))
    for sink in recorder._sinks:
        sink.finish(outcome())
    recorder.close()
    assert sorted(path.name for path in (tmp_path / "events").iterdir()) == ["___a_b", "swarm"]
    found = EventAccumulator(str(tmp_path / "events" / "___a_b"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == set(numbers_of(VIEW))
    assert [(event.step, event.value) for event in found.Scalars("training_loss")] == [
        (0, 0.5),
        (20, 0.5),
        (40, 0.5),
    ]
    swarm = EventAccumulator(str(tmp_path / "events" / "swarm"))
    swarm.Reload()
    (event,) = swarm.Scalars("result/personal/mean")
    assert event.value == pytest.approx(0.9)


@pytest.fixture
def mlflow_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(bool(NEEDS_MLFLOW), reason=f"{', '.join(NEEDS_MLFLOW)} not installed")
def test_mlflow_gets_the_numbers_of_metrics(mlflow_store: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    recorder = Recorder(
        {"command": "swarm", "task": "digits", "seed": 7},
        None,
        tmp_path / "out",
        sinks=extra_sinks(None, mlflow_store),
    )
    for time in range(3):
        recorder.record(views(time), float(time))
    for sink in recorder._sinks:
        sink.finish(outcome())
    recorder.close()
    client = MlflowClient(tracking_uri=mlflow_store)
    (experiment,) = (one for one in client.search_experiments() if one.name == "hyperpush")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"swarm digits", "agent-0", "agent-1", "agent-2"}
    swarm = runs["swarm digits"]
    assert swarm.data.params["seed"] == "7"
    assert swarm.data.metrics["result/personal/mean"] == pytest.approx(0.9)
    assert swarm.data.metrics["training_loss"] == pytest.approx((1 / 3 + 1 / 4 + 1 / 5) / 3)
    history = client.get_metric_history(runs["agent-1"].info.run_id, "training_loss")
    assert [(one.step, one.value) for one in history] == [(0, 0.5), (20, 1 / 3), (40, 0.25)]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(bool(NEEDS_MLFLOW), reason=f"{', '.join(NEEDS_MLFLOW)} not installed")
def test_a_store_that_cannot_be_had_is_told_before_the_run(mlflow_store: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="it cannot be used"):
        Recorder({}, None, tmp_path / "out", sinks=extra_sinks(None, "nowhere://x"))
    assert not (tmp_path / "out").exists(), "so that the same command can be given again"
