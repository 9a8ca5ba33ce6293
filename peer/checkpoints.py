"""Checkpoints on a disk: what an agent has learned, the last few of them, whole or not at all.

    checkpoint-00000012.safetensors   the tensors
    checkpoint-00000012.json          version, number, whose and of which model, when, plain values; length
                                      and digest of the tensors, digest of this file itself

The second file is written after the first and makes the checkpoint: without it, or with a digest that does
not fit, there is none. Both are durable before an older one is removed, so wherever a process is killed or
the power fails, the newest good checkpoint is one of the last two that were begun. What such a process leaves
behind is nothing to anybody.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from peer.disk import NEW, discard, put
from peer.errors import HyperpushError, NewerReleaseError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from peer.disk import Disk
    from peer.snapshot import Plain

VERSION: Final = 1
KEPT: Final = 3
TENSORS: Final = ".safetensors"
MANIFEST: Final = ".json"
MANIFEST_BYTES_MAX: Final = 2**26
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)  # what removing files can mend
_NAME = re.compile(r"checkpoint-(\d{8,})(\.safetensors|\.json)(\.new)?")


class CheckpointError(HyperpushError):
    """A checkpoint cannot be used; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is kept. `values` is what JSON can hold; `tensors` is one safetensors file."""

    identity: str  # fingerprint of whose it is
    model: str  # fingerprint of task, model and solver
    incarnation: int
    epoch: int
    saved_at: str  # by the machine's clock, for people
    values: dict[str, Plain]
    tensors: bytes

    def manifest(self, number: int) -> str:
        """The second file."""
        content: dict[str, object] = {
            "version": VERSION,
            "number": number,
            "identity": self.identity,
            "model": self.model,
            "incarnation": self.incarnation,
            "epoch": self.epoch,
            "saved_at": self.saved_at,
            "values": self.values,
            "tensors": {"bytes": len(self.tensors), "blake2b": digest(self.tensors)},
        }
        content["check"] = digest(json.dumps(content).encode())
        return json.dumps(content) + "\n"


def digest(content: bytes) -> str:
    """What tells this content from a damaged one."""
    return hashlib.blake2b(content, digest_size=32).hexdigest()


class CheckpointStore:
    """The checkpoints on one disk, for one writer at a time."""

    def __init__(self, disk: Disk, *, keep: int = KEPT) -> None:
        """`keep` of them stay; raises OSError if the disk cannot be looked at."""
        self._disk = disk
        self._keep = keep
        self._next = max(self._found(), default=0) + 1
        self._damaged: set[int] = set()  # found so by `newest`; they make room for the next one

    def write(self, checkpoint: Checkpoint) -> int:
        """Keep it durably and drop what is too old; returns its number.

        Raises OSError if the disk refuses it; those before are there still. But on a disk without room what
        is left over or damaged makes room for this one, then all good ones but the newest.
        """
        number = self._next
        while True:
            try:
                self._write(number, checkpoint)
                break
            except OSError as error:
                for ending in (MANIFEST, TENSORS):
                    discard(self._disk, _name(number) + ending)
                if error.errno not in NO_ROOM or not self._make_room():
                    raise
        self._next = number + 1
        self._remove_all_but(self._good()[-self._keep :])
        return number

    def _write(self, number: int, checkpoint: Checkpoint) -> None:
        put(self._disk, _name(number) + TENSORS, checkpoint.tensors)
        put(self._disk, _name(number) + MANIFEST, checkpoint.manifest(number).encode())
        self._disk.sync_names()

    def _make_room(self) -> bool:
        """Give up what is good for nothing, else the oldest good one but never the last; whether it could."""
        good = self._good()
        return self._remove_all_but(good) or (len(good) > 1 and self._remove_all_but(good[1:]))

    def _good(self) -> list[int]:
        return [number for number in self.numbers() if number not in self._damaged]

    def leftovers(self) -> list[str]:
        """Files of checkpoints that were begun: one that is being written now, or that never will be."""
        return self._all_but(self.numbers())

    def remove_leftovers(self) -> None:
        """As far as the disk lets it. For its writer, which is not writing one."""
        self._remove_all_but(self.numbers())

    def _all_but(self, numbers: Collection[int]) -> list[str]:
        """A manifest comes before the tensors that it promises."""
        return [name for name, of, is_new in self._files() if is_new or of not in numbers]

    def _remove_all_but(self, numbers: Collection[int]) -> bool:
        """Whether a file is gone by that."""
        others = self._all_but(numbers)
        for name in others:
            discard(self._disk, name)
        return len(self._all_but(numbers)) < len(others)

    def numbers(self) -> list[int]:
        """Of those that have a manifest, rising; whether they are good is seen by `load`."""
        return sorted(of for name, of, is_new in self._files() if name.endswith(MANIFEST) and not is_new)

    def load(self, number: int) -> Checkpoint:
        """One checkpoint, proven whole. Raises CheckpointError or NewerReleaseError."""
        text = self._read(_name(number) + MANIFEST, MANIFEST_BYTES_MAX).decode(errors="replace")
        checkpoint, length, check = _parse(text, number)
        tensors = self._read(_name(number) + TENSORS, length + 1)
        if len(tensors) != length:
            has = "more" if len(tensors) > length else f"{len(tensors):,}"
            raise CheckpointError(f"checkpoint {number} is cut short: {has} of {length:,} bytes are there")
        if digest(tensors) != check:
            raise CheckpointError(f"checkpoint {number} is damaged: its tensors are not those that were kept")
        return replace(checkpoint, tensors=tensors)

    def newest(self) -> tuple[int, Checkpoint | None, tuple[str, ...]]:
        """Number and content of the newest good one, or 0 and None; what is wrong with newer ones.

        Raises NewerReleaseError.
        """
        wrong: list[str] = []
        for number in reversed(self.numbers()):
            try:
                return number, self.load(number), tuple(wrong)
            except CheckpointError as error:
                self._damaged.add(number)
                wrong.append(str(error))
        return 0, None, tuple(wrong)

    def _read(self, name: str, at_most: int) -> bytes:
        try:
            return self._disk.read(name, at_most)
        except OSError as error:
            raise CheckpointError(
                f"{self._disk.place(name)} cannot be read: {error.strerror or error}"
            ) from None

    def _found(self) -> set[int]:
        return {of for _, of, _ in self._files()}

    def _files(self) -> Iterator[tuple[str, int, bool]]:
        """Names, their numbers, and whether they were still being written."""
        for name in sorted(self._disk.names()):
            if (found := _NAME.fullmatch(name)) is not None:
                yield name, int(found[1]), found[3] == NEW


def _name(number: int) -> str:
    return f"checkpoint-{number:08}"


def _parse(text: str, number: int) -> tuple[Checkpoint, int, str]:
    """All but the tensors, and their length and digest. Accepts what `manifest` writes, to the last byte."""
    newer, found = False, None
    # Whatever JSON may hold instead of what is expected, one of these comes of it.
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
        content = json.loads(text)
        check = content.pop("check")
        is_whole = digest(json.dumps(content).encode()) == check  # the same in all versions
        newer = is_whole and content["version"] > VERSION
        names = ("identity", "model", "incarnation", "epoch", "saved_at", "values")
        fields = {name: content[name] for name in names}
        length, tensors = content["tensors"]["bytes"], content["tensors"]["blake2b"]
        if (
            is_whole
            and content["number"] == number
            and json.dumps({**content, "check": check}) + "\n" == text
        ):
            found = Checkpoint(**fields, tensors=b""), length, tensors
    if newer:
        raise NewerReleaseError(f"state: checkpoint {number} was written by a newer release: use that one")
    if found is None:
        raise CheckpointError(f"checkpoint {number} is damaged or cut short: its description makes no sense")
    return found
