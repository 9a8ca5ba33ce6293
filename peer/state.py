"""What an agent keeps between two starts, in the files of its state directory or for one start in memory.

    file                       content
    lock                       locked while the directory is in use; the number of the process that uses it
    identity.key, agent.json   who the agent is and which numbers it has used, see peer/state_files.py
    checkpoint-*               what it has learned, see peer/checkpoints.py

A state directory may be moved to another machine, but must not be copied or restored from a backup: that
identity has gone on since.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
from typing import TYPE_CHECKING, Final, Protocol, Self

from peer.checkpoints import KEPT, CheckpointStore
from peer.disk import COPY
from peer.errors import StateError
from peer.file_disk import FileDisk
from peer.state_files import IDENTITY, StateFiles, look
from wire import U64_MAX
from wire.keys import SECRET_BYTES, SigningIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from peer.checkpoints import Checkpoint
    from peer.state_files import Found
    from wire.envelope import ReplayMark

LOCK: Final = "lock"


class AgentState(Protocol):
    """What a running agent needs to keep; all of it is durable when a method returns, as far as it can be.

    `start` comes first, once. The methods block for as long as a disk takes, and may be called from any
    thread. When one raises StateError, the number that it was to keep must not be used.
    """

    @property
    def identity(self) -> SigningIdentity:
        """Who the agent is."""

    @property
    def incarnation(self) -> int:
        """Which start this is; 0 before the first."""

    @property
    def epoch(self) -> int:
        """The highest epoch that may have been entered; 0 if none was."""

    @property
    def marks(self) -> Mapping[str, ReplayMark]:
        """The replay marks last kept."""

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest good one of the time before the start."""

    @property
    def findings(self) -> list[str]:
        """What was wrong with the state, and what became of that, for people."""

    def start(self) -> int:
        """Count one start; returns its incarnation."""

    def persist_epoch(self, epoch: int) -> None:
        """Keep this epoch, which is about to be entered and higher than all before."""

    def persist_replay(self, marks: Mapping[str, ReplayMark]) -> None:
        """Keep how far the others came."""

    def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep what was learned; does not wait for the other methods, nor they for it."""

    def close(self) -> None:
        """Let others use the state."""


class StateDirectory:
    """An AgentState in the files of one directory, which is made if there is none.

    Raises StateError if it cannot be used, is in use, or holds what cannot be trusted. A context manager.
    """

    def __init__(self, path: Path, *, keep: int = KEPT) -> None:
        """`keep` checkpoints stay."""
        self.path: Final = path
        self._started = self._closed = False
        self._writing = threading.Lock()  # numbers
        self._keeping = threading.Lock()  # checkpoints
        with _problems(path, "give a directory that you may write to"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _problems(path / LOCK, "give a directory that you may write to"):
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take_lock()
            for name in (IDENTITY, IDENTITY + COPY):
                _check_mode(path / name)
            disk = FileDisk(path)
            self._files = StateFiles(disk, lambda: os.urandom(SECRET_BYTES))
            self.findings = self._files.findings
            with _problems(path, "give a directory that you may read"):
                self._checkpoints = CheckpointStore(disk, keep=keep)
                self.checkpoint = self._newest()
                self._checkpoints.remove_leftovers()
        except BaseException:
            self.close()
            raise

    @property
    def identity(self) -> SigningIdentity:
        """Who the agent is."""
        return self._files.identity

    @property
    def incarnation(self) -> int:
        """Which start this is; 0 before the first."""
        return self._files.numbers.incarnation

    @property
    def epoch(self) -> int:
        """The highest epoch that may have been entered; 0 if none was."""
        return self._files.numbers.epoch

    @property
    def marks(self) -> Mapping[str, ReplayMark]:
        """The replay marks last kept."""
        return self._files.numbers.replay

    def start(self) -> int:
        """Count one start; returns its incarnation."""
        assert not self._started
        with self._write():
            self._files.keep(incarnation=self.incarnation + 1)
        self._started = True
        return self.incarnation

    def persist_epoch(self, epoch: int) -> None:
        """Keep this epoch, which is about to be entered and higher than all before."""
        assert self._started
        with self._write():
            assert self.epoch < epoch <= U64_MAX
            self._files.keep(epoch=epoch)

    def persist_replay(self, marks: Mapping[str, ReplayMark]) -> None:
        """Keep how far the others came."""
        with self._write():
            self._files.keep_marks(marks)

    def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep what was learned; does not wait for the other methods, nor they for it."""
        with self._keeping:
            assert not self._closed
            with _problems(self.path, "make room, or give a directory that you may write to"):
                self._checkpoints.write(checkpoint)

    def close(self) -> None:
        """Give up the lock, once nothing is being written; then nothing is. To be called once."""
        with self._writing, self._keeping:
            self._closed = True
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _write(self) -> Iterator[None]:
        with self._writing:
            assert not self._closed
            yield

    def _newest(self) -> Checkpoint | None:
        number, checkpoint, wrong = self._checkpoints.newest()
        self.findings.extend(wrong)
        if wrong and checkpoint is not None:
            self.findings.append(f"checkpoint {number} is whole and is used")
        elif wrong:
            self.findings.append("no checkpoint is whole: what was learned is lost, the identity is not")
        own = self.identity.fingerprint
        if checkpoint is not None and checkpoint.identity != own:
            whose = "the new identity" if self.incarnation == 0 else "the identity"
            self.findings.append(
                f"checkpoint {number} is of the identity {checkpoint.identity}, whose key is not here; "
                f"{whose} {own} goes on from what it had learned"
            )
        return checkpoint

    def _take_lock(self) -> None:
        with _problems(self.path / LOCK, "give a directory on a disk that has locks"):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(self._lock, 20).decode(errors="replace").strip()
                raise StateError(
                    f"state: {self.path} is in use by process {holder}; every agent needs one of its own"
                ) from None
            os.ftruncate(self._lock, 0)
            os.write(self._lock, f"{os.getpid()}\n".encode())


class MemoryState:
    """An AgentState that ends with the process, for an identity that ends with it.

    After `close` it may be started again.
    """

    def __init__(self, identity: SigningIdentity) -> None:
        self.identity: Final = identity
        self._started = False
        self.incarnation = 0
        self.epoch = 0
        self.marks: Mapping[str, ReplayMark] = {}
        self.checkpoint: Checkpoint | None = None
        self.findings: list[str] = []

    def start(self) -> int:
        """Count one start; returns its incarnation."""
        assert not self._started
        self._started = True
        self.incarnation += 1
        return self.incarnation

    def persist_epoch(self, epoch: int) -> None:
        """Keep this epoch, which is about to be entered and higher than all before."""
        assert self._started
        assert self.epoch < epoch <= U64_MAX
        self.epoch = epoch

    def persist_replay(self, marks: Mapping[str, ReplayMark]) -> None:
        """Keep how far the others came."""
        self.marks = dict(marks)

    def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep what was learned."""
        self.checkpoint = checkpoint

    def close(self) -> None:
        """Nothing is held but what was kept."""
        self._started = False


def open_state(path: Path | None, *, keep: int = KEPT) -> AgentState:
    """The state in this directory, or a new one in memory. Raises StateError."""
    return ephemeral(os.urandom(SECRET_BYTES)) if path is None else StateDirectory(path, keep=keep)


def ephemeral(seed: bytes) -> AgentState:
    """The state of a new identity, so `seed` must be SECRET_BYTES that were never used before."""
    return MemoryState(SigningIdentity(seed))


def look_at(folder: Path) -> Found:
    """What a state directory holds. Raises StateError if it cannot be used.

    Takes no lock and changes nothing: an agent that runs there is not disturbed.
    """
    for name in (IDENTITY, IDENTITY + COPY):
        _check_mode(folder / name)
    return look(FileDisk(folder))


def _check_mode(path: Path) -> None:
    """A group may read it: Kubernetes makes volumes so. Everybody may not."""
    with _problems(path, "give a directory that you may read"), contextlib.suppress(FileNotFoundError):
        if stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO:
            raise StateError(f"state: {path} is open to every user of this machine; run: chmod 600 {path}")


@contextlib.contextmanager
def _problems(path: Path, remedy: str) -> Iterator[None]:
    """What the machine refuses, as a StateError."""
    try:
        yield
    except OSError as error:
        raise StateError(f"state: {path} cannot be used: {error.strerror or error}; {remedy}") from error
