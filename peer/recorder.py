"""Keeps what a run did: configuration and versions, metrics over time, results, final state."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TextIO

import numpy as np

from peer.earlier_life import earlier_life, make_room
from peer.errors import SettingError
from peer.jsonable import jsonable, write_json
from peer.sinks import MetricsFile
from peer.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from peer.details import AgentDetails
    from peer.events import Event
    from peer.outcome import Outcome
    from peer.sinks import OpenSink, Sink
    from peer.tasks import Answer
    from peer.views import AgentView
    from wire import PeerId

PACKAGES = ("hyperpush", "torch", "numpy", "aiohttp", "msgpack", "zeroconf", "scikit-learn", "scipy")
RECORD_EVERY_S = 1.0
FAULTS_TOLD_MAX: Final = 16  # of those that people have set on a live agent, in one line


def versions() -> dict[str, str]:
    """What this run was made with."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


class Recorder:
    """Writes into `--out DIR` and `--json FILE`, and to other sinks; each may be absent.

    `DIR/config.json`: options, settings, versions, the command. `DIR/metrics.jsonl`: one line per agent and
    second. `DIR/events.jsonl`: one line per event: epochs, peers that came and went, lowered rates, what the
    scenario did, faults that were set meanwhile. `DIR/links.jsonl`: one line per agent and time with what it
    knows of each peer: `hears`, `heard_by`, `pushes_to`, `left`, numbers of messages, `rtt_s`; what is
    false, 0 or not known is left out, and simulated agents do not count what they send on each link.
    `DIR/hyperparameters.jsonl`: one line per agent and time with all entries of short hyperparameters
    (`values`), and least, median and most of long ones (`ranges`); `config.json` names the entries.
    `DIR/result.json`: as `--json`; without it a run was ended before it had results.
    `DIR/state/AGENT.npz`: model, adjoint, hyperparameters, as named arrays.

    Times, `at_s`, are seconds since the first line, or of a simulation virtual. Links and hyperparameters are
    written each second at most, less often as long as they come to more bytes than the metrics, and once more
    at the end of learning: however long a run takes, both together are never larger than the metrics, but for
    that last look.

    What the agent whose name is `id` of the configuration has written in `DIR` before it was started again is
    gone on with: lines are added, times go on after the last one, `config.json` is of the last start and has
    the times of all before as `began_before`, results of before are `result.json.before`.

    Raises `SettingError` before the run if a target cannot be written.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        json_file: Path | None,
        out: Path | None,
        *,
        passed_s: float | None = None,
        sinks: Sequence[OpenSink] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`passed_s`: since this very run began before; it goes on after what it has written in `out`.

        `sinks`: what opens those beside `out`; what they could not keep is told by `say`.
        """
        began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.config = {**config, "began_at": began, "versions": versions()}
        self._json_file = json_file
        self._out = out
        self._say = say
        self._metrics: MetricsFile | None = None
        self._sinks: list[Sink] = []
        self._files: dict[str, TextIO] = {}  # by the name before .jsonl
        self._began: float | None = None  # by the clock, when the first line is written
        self._passed_s = passed_s or 0.0
        self._last_s = self._looked_s = -RECORD_EVERY_S
        self._looked_bytes = self._last_look_bytes = 0
        if json_file is not None:
            _check_file(json_file)
        try:
            if out is not None and passed_s is None:
                self._look_before(out)
            for open_sink in sinks:  # first: one that cannot be opened leaves no folder behind
                self._sinks.append(open_sink(self.config))
            if out is not None:
                self._open(out, goes_on=passed_s is not None)
        except OSError as error:
            self.close()
            remedy = f"it cannot be written: {error.strerror or error}; give a folder that you may write to"
            raise SettingError("out", str(out), remedy) from None
        except SettingError:
            self.close()
            raise

    def _look_before(self, out: Path) -> None:
        before = earlier_life(out, self.config.get("id"))
        if before is not None:
            self._passed_s = before.passed_s
            self.config["began_before"] = before.began
            self._say(
                f"{out} goes on after {before.passed_s:.0f} s, which this agent has written there before"
            )

    def _open(self, out: Path, *, goes_on: bool) -> None:
        if not goes_on:
            out.mkdir(parents=True, exist_ok=True)
            make_room(out)
            with whole_file(out / "config.json", "out") as part:
                write_json(part, self.config)
            (out / "state").mkdir(exist_ok=True)
        self._metrics = MetricsFile(out / "metrics.jsonl")
        self._sinks.append(self._metrics)
        for name in ("events", "links", "hyperparameters"):
            self._files[name] = (out / f"{name}.jsonl").open("a", encoding="utf-8")

    def record(self, views: Sequence[AgentView], at_s: float | None = None) -> None:
        """Give the sinks the numbers, if it is time; `at_s` is the virtual time of a simulation."""
        at_s = self._now(at_s)
        if not self._sinks or at_s - self._last_s < RECORD_EVERY_S:
            return
        self._last_s = at_s
        for sink in tuple(self._sinks):
            try:
                sink.record(at_s, views)
            except OSError as error:
                if sink is self._metrics:
                    raise
                self._sinks.remove(sink)
                self._say(f"{type(sink).__name__} has ended: {error}; metrics.jsonl of --out goes on")

    def look(
        self, details: Callable[[], Iterable[AgentDetails]], at_s: float | None = None, *, last: bool = False
    ) -> None:
        """Add what `details` says of links and hyperparameters, if it is time or the `last` time.

        Invariant: before the last time they have at most as many bytes as the metrics so far.
        """
        if self._metrics is None:
            return
        at_s = self._now(at_s)
        room = self._metrics.size - self._looked_bytes
        if not last and (at_s - self._looked_s < RECORD_EVERY_S or room < self._last_look_bytes):
            return
        lines: list[tuple[str, str]] = []
        for one in details():
            lines.append(("links", _line(one.links_line(at_s))))
            values = one.hyperparameters_line(at_s)
            if values is not None:
                lines.append(("hyperparameters", _line(values)))
        self._last_look_bytes = sum(len(line) for _, line in lines)
        if not last and room < self._last_look_bytes:
            return
        self._looked_s = at_s
        self._looked_bytes += self._last_look_bytes
        for name, line in lines:
            self._files[name].write(line)

    def event(self, peer: PeerId, event: Event, at_s: float | None = None) -> None:
        """Add a line for an event."""
        self._happened(at_s, {"agent": peer, "event": type(event).__name__, **asdict(event)})

    def change(self, agent: str, what: str, at_s: float | None = None) -> None:
        """Add a line for what the scenario did to an agent, in words."""
        self._happened(at_s, {"agent": agent, "event": "Scenario", "what": what})

    def went_on(self, peer: PeerId, tick: object, incarnation: int) -> None:
        """Add a line for an agent that goes on from a checkpoint."""
        self._happened(None, {"agent": peer, "event": "WentOn", "tick": tick, "incarnation": incarnation})

    def faults(self, peer: PeerId, live: Sequence[object], at_s: float | None = None) -> None:
        """Add a line for the faults that people have set on a live agent, all that are in force now."""
        told = {"agent": peer, "event": "FaultsSet", "live": live[:FAULTS_TOLD_MAX], "in_force": len(live)}
        self._happened(at_s, told)

    def finish(self, outcome: Outcome, answers: Sequence[Answer]) -> None:
        """Write results and final state."""
        if self._json_file is not None:
            write_json(self._json_file, outcome.to_dict())
        if self._out is not None:
            write_json(self._out / "result.json", outcome.to_dict())
            for agent, answer in zip(outcome.agents, answers, strict=True):
                arrays: dict[str, Any] = {
                    f"{part}/{name}": np.asarray(tensor.detach())
                    for part in ("model", "adjoint", "hyperparameters")
                    for name, tensor in getattr(answer, part).items()
                }
                np.savez(self._out / "state" / f"{agent.id}.npz", allow_pickle=False, **arrays)
        for sink in self._sinks:
            sink.finish(outcome)

    def close(self) -> None:
        """Close the files and all sinks."""
        for file in self._files.values():
            file.close()
        while self._sinks:
            problem = self._sinks.pop().close()
            if problem is not None:
                self._say(problem)

    def _now(self, at_s: float | None) -> float:
        """Seconds since the agents began, or what the caller says of virtual time."""
        if at_s is not None:
            return at_s
        now = time.monotonic()
        if self._began is None:  # what it takes to load and to listen is no time of the run
            self._began = now - self._passed_s
        return now - self._began

    def _happened(self, at_s: float | None, told: Mapping[str, Any]) -> None:
        if "events" in self._files:
            self._files["events"].write(json.dumps({"at_s": round(self._now(at_s), 3), **told}) + "\n")


def _line(content: object) -> str:
    return json.dumps(jsonable(content), separators=(",", ":")) + "\n"


def _check_file(path: Path) -> None:
    """Raise `SettingError` if this file cannot be written once the run is over; it stays as it is."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise SettingError("json", str(path), "give a file in a folder that exists")
    if path.exists() and not path.is_file():
        return  # to look at a pipe would end it
    is_new = not path.exists()
    try:
        path.open("a").close()
        if is_new:
            path.unlink()
    except OSError as error:
        remedy = f"it cannot be written: {error.strerror or error}; give a file that you may write to"
        raise SettingError("json", str(path), remedy) from None
