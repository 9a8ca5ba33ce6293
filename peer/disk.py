"""One directory as a disk: the few operations that files which must survive are made of.

What survives what, as POSIX promises it: when a process is killed, all operations that have returned stay.
When the power fails, the content of a file stays as of its last `sync`, and what became of names (`replace`,
`remove`) as of the last `sync_names`; anything newer may be there, partly there, or not.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

NEW = ".new"  # ends the name of a file that is being written
COPY = ".copy"  # ends the name of the second one of two equal files


class Disk(Protocol):
    """Flat: names without folders. Methods raise OSError; `read` FileNotFoundError for what is not there."""

    def place(self, name: str) -> str:
        """How people are told of this file."""

    def names(self) -> list[str]:
        """What is there, in any order."""

    def read(self, name: str, at_most: int) -> bytes:
        """The content, cut to so many bytes."""

    def write(self, name: str, content: bytes) -> None:
        """Make a file of this content, or give it this content; not durable before `sync`."""

    def sync(self, name: str) -> None:
        """Make the content of the file durable."""

    def replace(self, name: str, new_name: str) -> None:
        """Give the file another name, at once; one that had this name is gone. Durable by `sync_names`."""

    def remove(self, name: str) -> None:
        """Remove a file. Durable by `sync_names`."""

    def sync_names(self) -> None:
        """Make names and their absence durable."""


class FileDisk:
    """A real directory, which must exist. Files are for their owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def place(self, name: str) -> str:
        """Its path."""
        return str(self.path / name)

    def names(self) -> list[str]:
        """What is there."""
        return os.listdir(self.path)

    def read(self, name: str, at_most: int) -> bytes:
        """The content."""
        with (self.path / name).open("rb") as file:
            return file.read(at_most)

    def write(self, name: str, content: bytes) -> None:
        """Anything but a whole write raises."""
        descriptor = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]

    def sync(self, name: str) -> None:
        """By fsync; which file descriptor it is asked of does not matter."""
        _fsync(self.path / name, os.O_RDONLY)

    def replace(self, name: str, new_name: str) -> None:
        """Atomic."""
        os.replace(self.path / name, self.path / new_name)

    def remove(self, name: str) -> None:
        """Unlink."""
        os.unlink(self.path / name)

    def sync_names(self) -> None:
        """By fsync of the directory."""
        _fsync(self.path, os.O_RDONLY | os.O_DIRECTORY)


def put(disk: Disk, name: str, content: bytes) -> None:
    """Write a file beside and put it in its place: whoever reads finds the old or the new one, whole.

    Durable after `disk.sync_names()`. If it raises, the old one is there, and nothing is left beside it,
    unless the disk refuses that, too.
    """
    beside = name + NEW
    try:
        disk.write(beside, content)
        disk.sync(beside)
        disk.replace(beside, name)
    except OSError:
        discard(disk, beside)
        raise


def discard(disk: Disk, name: str) -> None:
    """Remove what may be there; what cannot be removed stays."""
    with contextlib.suppress(OSError):
        disk.remove(name)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
