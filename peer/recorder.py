"""Keeps what a run did: configuration and versions, metrics over time, results, final state."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from peer.errors import SettingError
from peer.jsonable import jsonable, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from peer.events import Event
    from peer.outcome import Outcome
    from peer.tasks import Answer
    from peer.views import AgentView
    from wire import PeerId

PACKAGES = ("hyperpush", "torch", "numpy", "aiohttp", "msgpack", "zeroconf", "scikit-learn", "scipy")
RECORD_EVERY_S = 1.0


def versions() -> dict[str, str]:
    """What this run was made with."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


class Recorder:
    """Writes into `--out DIR` and `--json FILE`; either may be None.

    `DIR/config.json`: options, settings, versions. `DIR/metrics.jsonl`: one line per agent and second.
    `DIR/events.jsonl`: one line per event: epochs, peers that came and went, lowered rates.
    `DIR/result.json`: as `--json`. `DIR/state/AGENT.npz`: model, adjoint, hyperparameters, as named arrays.

    Raises `SettingError` before the run if a target cannot be written.
    """

    def __init__(
        self, config: Mapping[str, Any], json_file: Path | None, out: Path | None, *, goes_on: bool = False
    ) -> None:
        """`goes_on`: after what this very run has written before."""
        self.config = {**config, "versions": versions()}
        self._json_file = json_file
        self._out = out
        self._metrics: TextIO | None = None
        self._events: TextIO | None = None
        self._began = time.monotonic()
        self._last_s = -RECORD_EVERY_S
        if json_file is not None:
            _check_file(json_file)
        if out is not None:
            try:
                self._open(out, goes_on=goes_on)
            except OSError as error:
                self.close()
                remedy = (
                    f"it cannot be written: {error.strerror or error}; give a folder that you may write to"
                )
                raise SettingError("out", str(out), remedy) from None

    def _open(self, out: Path, *, goes_on: bool) -> None:
        if not goes_on:
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise SettingError("out", str(out), "give a folder that is new or empty")
            (out / "state").mkdir(parents=True)
            write_json(out / "config.json", self.config)
        self._metrics = (out / "metrics.jsonl").open("a", encoding="utf-8")
        self._events = (out / "events.jsonl").open("a", encoding="utf-8")

    def record(self, views: Sequence[AgentView], at_s: float | None = None) -> None:
        """Add a line per agent, if it is time; `at_s` is the virtual time of a simulation."""
        at_s = time.monotonic() - self._began if at_s is None else at_s
        if self._metrics is None or at_s - self._last_s < RECORD_EVERY_S:
            return
        self._last_s = at_s
        for view in views:
            self._metrics.write(json.dumps(jsonable({"at_s": round(at_s, 3), **asdict(view)})) + "\n")

    def event(self, peer: PeerId, event: Event, at_s: float | None = None) -> None:
        """Add a line for an event."""
        if self._events is not None:
            at_s = time.monotonic() - self._began if at_s is None else at_s
            line = {"at_s": round(at_s, 3), "agent": peer, "event": type(event).__name__, **asdict(event)}
            self._events.write(json.dumps(line) + "\n")

    def finish(self, outcome: Outcome, answers: Sequence[Answer]) -> None:
        """Write results and final state."""
        if self._json_file is not None:
            write_json(self._json_file, outcome.to_dict())
        if self._out is None:
            return
        write_json(self._out / "result.json", outcome.to_dict())
        for agent, answer in zip(outcome.agents, answers, strict=True):
            arrays: dict[str, Any] = {
                f"{part}/{name}": np.asarray(tensor.detach())
                for part in ("model", "adjoint", "hyperparameters")
                for name, tensor in getattr(answer, part).items()
            }
            np.savez(self._out / "state" / f"{agent.id}.npz", allow_pickle=False, **arrays)

    def close(self) -> None:
        """Close the files."""
        for file in (self._metrics, self._events):
            if file is not None:
                file.close()


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
