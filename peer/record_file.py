"""A file to which lines are added, so that what takes hours may be stopped at any time and gone on with."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from peer.errors import HyperpushError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class RecordFile:
    """`read` is given what there is and returns how many bytes of it are whole; if none, `first` begins it.

    One process at a time writes to it. A last line that was cut short is dropped. Without a path nothing is
    kept. Raises HyperpushError for a file that cannot be written, that `read` refuses, or that another
    process has open; and for one that is there, if it is not to be gone on with.
    """

    def __init__(
        self, path: Path | None, *, resume: bool, read: Callable[[bytes], int], first: Callable[[], str]
    ) -> None:
        self._file = None
        if path is None:
            return
        try:
            file = path.open("a+b")
        except (OSError, ValueError) as error:
            raise HyperpushError(f"record: {str(path)!r} cannot be written: {error}; give another") from None
        try:
            _open(file.fileno(), path, resume, read, first)
        except OSError as error:
            file.close()
            raise HyperpushError(f"record: {str(path)!r} cannot be used: {error}; give another") from None
        except HyperpushError as error:
            file.close()
            raise HyperpushError(f"record: {str(path)!r} {error}") from None
        self._file = file

    def add_line(self, line: str) -> None:
        """Keep it: a whole line, with its end."""
        if self._file is not None:
            self._file.write(line.encode())
            self._file.flush()

    def close(self) -> None:
        """Nothing is added afterwards."""
        if self._file is not None:
            self._file.close()


def _open(
    descriptor: int, path: Path, resume: bool, read: Callable[[bytes], int], first: Callable[[], str]
) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HyperpushError(
            "is being written by another process; wait for it, or give another file"
        ) from None
    content = path.read_bytes()
    if content and not resume:
        raise HyperpushError("is there already; give --resume to go on, or another file")
    whole = read(content)
    if whole < len(content):
        os.ftruncate(descriptor, whole)
    if not whole:
        os.write(descriptor, first().encode())
