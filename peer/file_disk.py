"""A directory of the file system as a `peer.disk.Disk`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


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


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
