"""The files of one trace: the beginning stays, and of what comes later the newest.

    FILE            the first inputs, up to half of the limit
    FILE.1, FILE.2  later ones, a quarter each, in turn; each begins with the agent's state and replays alone

Files of a process before are kept as FILE.before, FILE.before.1, FILE.before.2: it may be its end that
somebody wants to understand. If one of these six is there and is no trace, none is touched. Whatever goes
wrong with a trace later is told and ends the trace, never the learning.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from peer.errors import SettingError
from peer.scenario import first_life
from peer.trace.origins import codec_of
from peer.trace.records import FORMAT, MAGIC, pack, pack_input
from peer.trace.watch import WatchedAgent
from wire import PROTOCOL_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import BinaryIO

    from peer.agent import Agent
    from peer.trace.records import Input
    from wire import PeerId

RESERVE: Final = 8  # a file is to end when all but an eighth of it is full: a computation has to end first
MEGABYTE: Final = 10**6
SUFFIXES: Final = ("", ".1", ".2")  # of the files of one trace
BEFORE: Final = ".before"  # and those of a process before


def versions() -> dict[str, object]:
    """What may let the same inputs lead elsewhere, if only by rounding."""
    return {
        "hyperpush": importlib.metadata.version("hyperpush"),
        "protocol": PROTOCOL_VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


class Trace:
    """The trace of one agent: give it to whoever makes the agent, and close it.

    Invariant: never more than `bytes_max` in all files of this process. `origin` says how the problem is
    made again, see `origins.py`. `is_real` if the agent's clock is the machine's.
    """

    def __init__(
        self,
        path: Path,
        origin: Mapping[str, object],
        *,
        bytes_max: int,
        is_real: bool,
        say: Callable[[str], None],
    ) -> None:
        self._path = path
        self._origin = dict(origin)
        self._bytes_max = bytes_max
        self._is_real = is_real
        self._say = say
        self._made: dict[str, object] = {}
        self._file: BinaryIO | None = None
        self._files = 0  # begun so far
        self._room = 0  # in the present file
        self._left = 0  # of that
        self._has_gap = False  # something did not fit: nothing more is for this file

    def watch(self, agent: Agent[Any], now: float, made: Mapping[str, object]) -> WatchedAgent[Any]:
        """The agent to be used instead; it was made at this time from these values and its settings.

        Raises `SettingError` if the files cannot be written.
        """
        self._made = {**made, "now": now, "settings": agent.settings.to_dict()}
        try:
            _keep_former(self._path)
            self._begin(0, None)
        except OSError as error:
            raise SettingError("trace", str(self._path), f"it cannot be written: {error}") from None
        return WatchedAgent(agent, self, codec_of(self._origin), now)

    # ---- what a watched agent asks

    def is_over(self) -> bool:
        """Whether there is no file to write to."""
        return self._file is None

    def wants_state(self) -> bool:
        """Whether the present file is nearly full."""
        return self._left < self._room // RESERVE

    def begin(self, state: bytes, first: int) -> None:
        """Go on in the other file."""
        try:
            self._begin(first, state)
        except OSError as error:
            self.stop(str(error))

    def add(self, note: Input) -> None:
        """Write it if there is room in the present file."""
        if self._file is None or self._has_gap:
            return
        record = pack_input(note)
        if len(record) > self._left:
            self._has_gap = True
            self._left = 0
            return
        try:
            self._write(record)
            if note.name in ("computed", "leave") or "raised" in note.outcome:
                self._file.flush()  # what a killed process leaves is at most a tick short
        except OSError as error:
            self.stop(str(error))

    def stop(self, why: str) -> None:
        """Say why, and note nothing any more."""
        self._say(f"the trace in {self._path} ends here: {why}")
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # the same again: it has been told
                file.close()

    def close(self) -> None:
        """Nothing is added afterwards."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._say(f"the trace in {self._path} may be incomplete: {error}")

    # ----

    def _begin(self, first: int, state: bytes | None) -> None:
        path = self._path if not self._files else Path(f"{self._path}.{2 - self._files % 2}")
        room = self._bytes_max // (4 if self._files else 2)
        records = MAGIC + pack("beginning", self._beginning(first))
        if state is not None:
            records += pack("state", state)
        if len(records) > room // 2:
            needed = -(-len(records) * 8 // MEGABYTE)
            self.stop(f"the agent's state takes {len(records):,} bytes; give --trace-mb {needed} or more")
            return
        if self._file is not None:
            self._file.close()
            self._file = None
        self._file = open(path, "wb", opener=_privately)  # noqa: SIM115  (closed by `close`)
        self._files += 1
        self._room = self._left = room
        self._has_gap = False
        self._write(records)
        self._file.flush()

    def _beginning(self, first: int) -> dict[str, object]:
        return {
            "format": FORMAT,
            **versions(),
            "threads": torch.get_num_threads(),
            "deterministic": torch.get_deterministic_debug_mode(),
            "first": first,
            "wall_s": time.time() - time.monotonic() if self._is_real else None,  # when the clock read 0
            "origin": self._origin,
            "made": self._made,
        }

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        self._left -= len(data)


class Traces:
    """One trace for each life of each agent of a program: FOLDER/NAME.LIFE, counted from 0."""

    def __init__(
        self,
        folder: Path,
        origin: Mapping[str, object],
        names: Sequence[PeerId],
        *,
        only: PeerId | None,
        bytes_max: int,
        is_real: bool,
        say: Callable[[str], None],
    ) -> None:
        """Raises `SettingError` for no agent `only`, no such folder, or other files under names of traces."""
        if only is not None and only not in names:
            raise SettingError("trace_agent", only, f"give one of {', '.join(names)}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.iterdir()):
                if any(_is_of(path.name, name) for name in names if only in (None, name)):
                    _check(path, folder)
        except OSError as error:
            raise SettingError("trace", str(folder), f"it has to be a folder: {error}") from None
        self._folder = folder
        self._origin = origin
        self._names = names
        self._only = only
        self._bytes_max = bytes_max
        self._is_real = is_real
        self._say = say
        self._open: dict[PeerId, Trace] = {}

    def of(self, peer: PeerId, life: int) -> Trace | None:
        """The trace of a new life, where it is wanted; that of the former life on the same seat is closed."""
        first = first_life(peer)
        if self._only not in (None, first):
            return None
        if first in self._open:
            self._open[first].close()
        trace = self._open[first] = Trace(
            self._folder / f"{peer}.{life}",
            {**self._origin, "shard": self._names.index(first)},
            bytes_max=self._bytes_max,
            is_real=self._is_real,
            say=self._say,
        )
        return trace

    def close(self) -> None:
        """All of them."""
        for trace in self._open.values():
            trace.close()


def _is_of(file: str, name: PeerId) -> bool:
    """Whether a file of this name may be used for, or moved by, the traces of this agent's lives."""
    life = rf"{re.escape(name)}(\+\d+)?\.\d+"
    return re.fullmatch(rf"{life}({re.escape(BEFORE)})?(\.[12])?", file) is not None


def _privately(path: str, flags: int) -> int:
    """What is sealed on the way lies open here."""
    return os.open(path, flags, 0o600)


def _keep_former(path: Path) -> None:
    """Put the files of a process before aside; before any is touched, raises `SettingError` as `_check`."""
    for aside in ("", BEFORE):
        for suffix in SUFFIXES:
            _check(Path(f"{path}{aside}{suffix}"), path)
    for suffix in SUFFIXES:
        here, there = Path(f"{path}{suffix}"), Path(f"{path}{BEFORE}{suffix}")
        if here.exists():
            here.replace(there)
        else:
            there.unlink(missing_ok=True)


def _check(path: Path, given: Path) -> None:
    """Raise `SettingError` for what is there and is no trace: a file of somebody, a folder, a device.

    An empty file passes: it is what a full disk leaves of a trace.
    """
    if not os.path.lexists(path):
        return
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(MAGIC)) in (MAGIC, b""):
                return
    raise SettingError("trace", str(given), f"{path} is there and is no trace; move it, or give another name")
