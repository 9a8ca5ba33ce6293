"""One directory as a disk: the few operations that files which must survive are made of.

What survives what, as POSIX promises it: when a process is killed, all operations that have returned stay.
When the power fails, the content of a file stays as of its last `sync`, and what became of names (`replace`,
`remove`) as of the last `sync_names`; anything newer may be there, partly there, or not.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

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
