"""One worker process as its parent sees it: what it says, what it is told, how it ends. An edge: asyncio."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import peer
from peer.chaos.machine import end_with

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LINE_BYTES_MAX: Final = 2**24  # curves of all agents of a process
_START: Final = "import importlib, sys; importlib.import_module(sys.argv[1]).main(*sys.argv[2:])"
ROOT: Final = Path(peer.__file__).resolve().parents[1]  # so that the same code runs there


class Process:
    """A child of ours: lines of JSON in both directions; what it prints besides is in `log`."""

    def __init__(
        self, log: Path, on_line: Callable[[Mapping[str, Any]], None], inside: Sequence[str] = ()
    ) -> None:
        """`inside` is a command that starts it, on another network for example."""
        self._log = log
        self._inside = inside
        self._on_line = on_line
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, while it runs."""
        return None if self._child is None or self._child.returncode is not None else self._child.pid

    async def run(self, module: str, *arguments: str, first: str) -> int:
        """Start it with `first` on stdin, listen until it ends; the exit code, negative for a signal."""
        with self._log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *(*self._inside, sys.executable, "-c", _START, module, *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                preexec_fn=partial(end_with, os.getpid()),
                start_new_session=True,  # Ctrl-C is for the parent, who then ends it
                limit=LINE_BYTES_MAX,
            )
        self._write(first)
        assert self._child.stdout is not None
        try:
            while line := await self._child.stdout.readline():
                if line.endswith(b"\n"):  # else it was killed in the middle
                    self._on_line(json.loads(line))
            return await self._child.wait()
        finally:
            if self.pid is not None:
                self.signal(signal.SIGKILL)
                await self._child.communicate()

    def send(self, command: Mapping[str, object]) -> None:
        """Tell it something, if it runs."""
        self._write(json.dumps(command))

    def end_input(self) -> None:
        """There is nothing more to tell it."""
        if self._child is not None and self._child.stdin is not None:
            self._child.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.pid is not None:
            os.kill(self.pid, number)

    def last_words(self, lines: int) -> list[str]:
        """The end of what it has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]

    def _write(self, line: str) -> None:
        if self.pid is not None and self._child is not None and self._child.stdin is not None:
            self._child.stdin.write(f"{line}\n".encode())


class Host:
    """One worker, whichever process it is at the moment, and what is done to it."""

    def __init__(
        self,
        number: int,
        log: Path,
        on_line: Callable[[Host, Mapping[str, Any]], None],
        inside: Sequence[str] = (),
    ) -> None:
        self.number = number
        self.process = Process(log, lambda line: on_line(self, line), inside)
        self.up = asyncio.Event()  # all its agents listen
        self.hit_by: list[str] = []  # the troubles that it is in
        self.killed = False
        self.starved = False  # it has been at a limit of memory since it was started
        self.seen_at = 0.0  # monotonic; when it last told anything
        self.given_up = False  # it said nothing for too long, and was ended
        self.finishing = asyncio.Event()  # it is not started again
        self.refused = ""  # why it could not use a state directory
