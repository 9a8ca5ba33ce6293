"""Metrics as event files of TensorBoard: one folder for each agent, so that charts compare them. An edge.

Needs the package tensorboard, which is the optional extra of that name. `torch.utils.tensorboard` writes in
threads of its own.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

from peer.errors import SettingError
from peer.sinks import numbers_of, result_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from peer.outcome import Outcome
    from peer.views import AgentView

WRITERS_MAX: Final = 256  # agents, each with a file and a thread; a life without state counts as another
NAME_LENGTH_MAX: Final = 100  # of a folder
SWARM: Final = "swarm"  # the folder of the results

_UNSAFE = re.compile(r"[^A-Za-z0-9_+-]")  # of a name from the network: it must not lead out of the folder


class TensorBoardSink:
    """Writes below one folder; a run that goes on, or another one, adds files to what is there."""

    def __init__(self, folder: Path) -> None:
        """Raises `SettingError` if the folder cannot be written to."""
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        self._make: Any = SummaryWriter
        self._writers: dict[str, Any] = {}
        self._is_full = False
        self._began = time.time()
        self._ticks = 0
        try:
            self._writer(SWARM)
        except OSError as error:
            remedy = f"it cannot be written: {error.strerror or error}; give a folder that you may write to"
            raise SettingError("tensorboard", str(folder), remedy) from None

    def record(self, at_s: float, views: Sequence[AgentView]) -> None:
        """The agent's ticks are the steps, the time of the run is the wall time."""
        for view in views:
            self._ticks = max(self._ticks, view.tick)
            safe = _UNSAFE.sub("_", view.id)[:NAME_LENGTH_MAX]
            name = f"agent-{safe}" if safe == SWARM else safe
            if name not in self._writers and len(self._writers) > WRITERS_MAX:
                self._is_full = True
                continue
            writer = self._writer(name)
            for tag, value in numbers_of(view).items():
                writer.add_scalar(tag, value, view.tick, walltime=self._began + at_s)

    def finish(self, outcome: Outcome) -> None:
        """Mean and worst decile over the agents, in a folder of their own."""
        for tag, value in result_numbers(outcome).items():
            self._writer(SWARM).add_scalar(tag, value, self._ticks)

    def close(self) -> str | None:
        """Write what waits."""
        for writer in self._writers.values():
            writer.close()
        told = f"tensorboard: only the first {WRITERS_MAX} agents have files; metrics.jsonl of --out has all"
        return told if self._is_full else None

    def _writer(self, name: str) -> Any:
        if name not in self._writers:
            self._writers[name] = self._make(log_dir=str(self._folder / name))
        return self._writers[name]
