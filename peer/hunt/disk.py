"""A disk that forgets what it may forget, runs full, is slow, and ends the process at any of its operations.

`peer.disk.Disk` in memory. What survives a kill and what a failing power is what POSIX promises and no more:
content that was not synced is cut anywhere or is what it was before, and each change of a name that no
`sync_names` followed happened or did not, in any combination.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable


@dataclass(slots=True)
class File:
    """Its content, and what of it is durable."""

    content: bytes = b""
    durable: bytes = b""


@dataclass(frozen=True, slots=True)
class Change:
    """Of a name, not durable yet: it refers to this file from now on, or to none, and another one is gone."""

    name: str
    file: File | None
    away: str = ""


class VirtualDisk:
    """`peer.disk.Disk`. `before` is called with the operation and the name before each one, and may raise.

    `room` is how many bytes all files may have together, `longest` how many of one write find room before
    others take it; None: no limit. While it `is_broken` nothing can be
    written, nor made durable, and only reading goes on.
    """

    def __init__(self, rng: random.Random, before: Callable[[str, str], None] | None = None) -> None:
        self.room: int | None = None
        self.longest: int | None = None
        self.is_broken = False
        self._rng = rng
        self._before = before or (lambda _operation, _name: None)
        self._names: dict[str, File] = {}
        self._durable: dict[str, File] = {}
        self._changes: list[Change] = []

    @property
    def is_well(self) -> bool:
        """Whether it has no reason to refuse."""
        return self.room is None and self.longest is None and not self.is_broken

    def place(self, name: str) -> str:
        """Its name."""
        return name

    def names(self) -> list[str]:
        """What is there."""
        return list(self._names)

    def read(self, name: str, at_most: int) -> bytes:
        """The content."""
        self._before("read", name)
        return self._file(name).content[:at_most]

    def write(self, name: str, content: bytes) -> None:
        """Where it ends in the midst of it, a part is there."""
        file = self._names.get(name)
        if file is None:
            file = self._names[name] = File()
            self._changes.append(Change(name, file))
        file.content = b""
        try:
            self._before("write", name)
        except BaseException:
            file.content = content[: self._rng.randrange(len(content) + 1)]
            raise
        if self.is_broken:
            file.content = content[: self._rng.randrange(len(content) + 1)]
            raise OSError(errno.EIO, "Input/output error")
        used = sum(len(one.content) for one in self._names.values())
        fits = len(content) if self.room is None else max(0, self.room - used)
        fits = fits if self.longest is None else min(fits, self.longest)
        file.content = content[:fits]
        if fits < len(content):
            raise OSError(errno.ENOSPC, "No space left on device")

    def sync(self, name: str) -> None:
        """What it has is durable."""
        self._before("sync", name)
        self._refuse_if_broken()
        file = self._file(name)
        file.durable = file.content

    def replace(self, name: str, new_name: str) -> None:
        """At once."""
        self._before("replace", new_name)
        self._refuse_if_broken()
        file = self._file(name)
        del self._names[name]
        self._names[new_name] = file
        self._changes.append(Change(new_name, file, away=name))

    def remove(self, name: str) -> None:
        """At once."""
        self._before("remove", name)
        self._refuse_if_broken()
        self._file(name)
        del self._names[name]
        self._changes.append(Change(name, None))

    def sync_names(self) -> None:
        """All names are durable."""
        self._before("sync_names", "")
        self._refuse_if_broken()
        self._durable = dict(self._names)
        self._changes.clear()

    def lose_power(self) -> None:
        """Only what is durable is sure to be there."""
        for change in self._changes:
            if self._rng.random() < 0.5:
                self._durable.pop(change.away, None)
                if change.file is None:
                    self._durable.pop(change.name, None)
                else:
                    self._durable[change.name] = change.file
        self._changes.clear()
        self._names = dict(self._durable)
        for name in sorted(self._names):
            file = self._names[name]
            if file.content != file.durable:
                cut = file.content[: self._rng.randrange(len(file.content) + 1)]
                file.content = self._rng.choice([cut, file.durable, b"\0" * len(file.content)])
                file.durable = file.content

    def damage(self, name: str) -> None:
        """Turn one bit over, or cut the file short."""
        file = self._file(name)
        if not file.content or self._rng.random() < 0.5:
            file.content = file.content[: self._rng.randrange(len(file.content) + 1)]
        else:
            content, bit = bytearray(file.content), self._rng.randrange(8 * len(file.content))
            content[bit // 8] ^= 1 << bit % 8
            file.content = bytes(content)
        file.durable = file.content

    def _refuse_if_broken(self) -> None:
        if self.is_broken:
            raise OSError(errno.EIO, "Input/output error")

    def _file(self, name: str) -> File:
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        return self._names[name]
