"""What an agent keeps between two starts, in the files of its state directory or for one start in memory.

    file           content
    lock           locked while the directory is in use; the number of the process that uses it
    identity.key   the secret identity of the agent, see wire/keys.py
    agent.json     version, fingerprint of that identity, incarnation, epoch, replay marks, check

Invariant: no identity uses an incarnation or enters an epoch that it used or entered before, wherever the
process is killed or the power fails. So both numbers are durable before they are used: a file is written
beside the old one, synced, put in its place, and the directory synced. And an identity never outlives its
numbers: at the first start agent.json is written before identity.key, and an identity whose numbers are
missing, damaged or another's is refused.

A state directory must not be copied or restored from a backup: that identity has gone on since.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol, Self

from peer.errors import StateError
from wire import U64_MAX
from wire.envelope import ReplayMark
from wire.errors import KeyFileError
from wire.keys import SECRET_BYTES, SigningIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LOCK: Final = "lock"
IDENTITY: Final = "identity.key"
NUMBERS: Final = "agent.json"
VERSION: Final = 1
FILE_BYTES_MAX: Final = 2**20  # five times the marks of as many senders as are remembered


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

    def start(self) -> int:
        """Count one start; returns its incarnation."""

    def persist_epoch(self, epoch: int) -> None:
        """Keep this epoch, which is about to be entered and higher than all before."""

    def persist_replay(self, marks: Mapping[str, ReplayMark]) -> None:
        """Keep how far the others came."""

    def close(self) -> None:
        """Let others use the state."""


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The content of agent.json."""

    fingerprint: str
    incarnation: int = 0
    epoch: int = 0
    replay: Mapping[str, ReplayMark] = field(default_factory=dict)

    def to_text(self) -> str:
        content: dict[str, object] = {
            "version": VERSION,
            "fingerprint": self.fingerprint,
            "incarnation": self.incarnation,
            "epoch": self.epoch,
            "replay": {
                sender: [mark.incarnation, mark.session.hex(), mark.counter]
                for sender, mark in self.replay.items()
            },
        }
        # A disk that loses a bit must not turn one epoch into another.
        content["check"] = hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()
        return json.dumps(content) + "\n"


def _parse_numbers(text: str) -> _Numbers:
    """Accepts what `to_text` writes, to the last byte. Raises ValueError saying what is wrong."""
    newer, numbers = False, None
    # Whatever JSON may hold instead of what is expected, one of these comes of it.
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
        content = json.loads(text)
        newer = content["version"] > VERSION
        found = _Numbers(
            content["fingerprint"],
            content["incarnation"],
            content["epoch"],
            {
                sender: ReplayMark(incarnation, bytes.fromhex(session), counter)
                for sender, (incarnation, session, counter) in content["replay"].items()
            },
        )
        numbers = found if found.to_text() == text else None
    if newer:
        raise ValueError("was written by a newer release: use that one")
    if numbers is None:
        raise ValueError("is damaged or cut short, so what its identity used is lost")
    return numbers


class StateDirectory:
    """An AgentState in the files of one directory, which is made if there is none.

    Raises StateError if it cannot be used, is in use, or holds what cannot be trusted. A context manager.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._started = self._closed = False
        self._writing = threading.Lock()
        with _problems(path, "give a directory that you may write to"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take_lock()
            self._identity, self._numbers = self._load()
        except BaseException:
            self.close()
            raise

    @property
    def identity(self) -> SigningIdentity:
        """Who the agent is."""
        return self._identity

    @property
    def incarnation(self) -> int:
        """Which start this is; 0 before the first."""
        return self._numbers.incarnation

    @property
    def epoch(self) -> int:
        """The highest epoch that may have been entered; 0 if none was."""
        return self._numbers.epoch

    @property
    def marks(self) -> Mapping[str, ReplayMark]:
        """The replay marks last kept."""
        return self._numbers.replay

    def start(self) -> int:
        """Count one start; returns its incarnation."""
        assert not self._started
        with self._writing:
            self._keep(replace(self._numbers, incarnation=self.incarnation + 1))
        self._started = True
        return self.incarnation

    def persist_epoch(self, epoch: int) -> None:
        """Keep this epoch, which is about to be entered and higher than all before."""
        assert self._started
        with self._writing:
            assert self.epoch < epoch <= U64_MAX
            self._keep(replace(self._numbers, epoch=epoch))

    def persist_replay(self, marks: Mapping[str, ReplayMark]) -> None:
        """Keep how far the others came."""
        with self._writing:
            self._keep(replace(self._numbers, replay=dict(marks)))

    def close(self) -> None:
        """Give up the lock, once nothing is being written; then nothing is. To be called once."""
        with self._writing:
            self._closed = True
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    def _load(self) -> tuple[SigningIdentity, _Numbers]:
        """What the files hold; what was not there is there afterwards."""
        identity_path, numbers_path = self.path / IDENTITY, self.path / NUMBERS
        both = f"delete {IDENTITY} and {NUMBERS} there to start as a new identity"
        identity = read_identity(identity_path)
        numbers = None
        if (text := _read(numbers_path)) is not None:
            try:
                numbers = _parse_numbers(text)
            except ValueError as error:
                raise StateError(f"state: {numbers_path} {error}; or {both}") from None
        if identity is None:
            identity = SigningIdentity(os.urandom(SECRET_BYTES))
            numbers = _Numbers(identity.fingerprint, replay={} if numbers is None else numbers.replay)
            self._keep(numbers)
            _replace(identity_path, identity.to_text())
        elif numbers is None:
            raise StateError(
                f"state: {numbers_path} is missing, so what the identity beside it used is lost; delete "
                f"{IDENTITY} there to start as a new identity"
            )
        elif numbers.fingerprint != identity.fingerprint:
            raise StateError(
                f"state: {numbers_path} belongs to {numbers.fingerprint}, {IDENTITY} beside it to "
                f"{identity.fingerprint}; delete {IDENTITY} there to start as a new identity"
            )
        return identity, numbers

    def _keep(self, numbers: _Numbers) -> None:
        assert not self._closed
        _replace(self.path / NUMBERS, numbers.to_text())
        self._numbers = numbers


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

    def close(self) -> None:
        """Nothing is held but what was kept."""
        self._started = False


def open_state(path: Path | None) -> AgentState:
    """The state in this directory, or a new one in memory. Raises StateError."""
    return ephemeral(os.urandom(SECRET_BYTES)) if path is None else StateDirectory(path)


def ephemeral(seed: bytes) -> AgentState:
    """The state of a new identity, so `seed` must be SECRET_BYTES that were never used before."""
    return MemoryState(SigningIdentity(seed))


def read_identity(path: Path) -> SigningIdentity | None:
    """The identity in this file; None if there is no file. Raises StateError if it cannot be used."""
    text = _read(path)
    if text is None:
        return None
    with _problems(path, "give a directory that you may read"):
        # A group may read it: Kubernetes makes volumes so. Everybody may not.
        if stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO:
            raise StateError(f"state: {path} is open to every user of this machine; run: chmod 600 {path}")
    try:
        return SigningIdentity.parse(text)
    except KeyFileError as error:
        raise StateError(
            f"state: {path} is damaged: {error}; delete {IDENTITY} there to start as a new identity"
        ) from None


def _read(path: Path) -> str | None:
    """A file of ours; None if there is none."""
    with _problems(path, "give a directory that you may read"):
        try:
            with path.open("rb") as file:
                return file.read(FILE_BYTES_MAX).decode(errors="replace")
        except FileNotFoundError:
            return None


def _replace(path: Path, text: str) -> None:
    """Make `text` the content of the file, whole and durable, or leave what was there."""
    beside = path.with_name(path.name + ".new")
    with _problems(path, "make room, or give a directory that you may write to"):
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def _problems(path: Path, remedy: str) -> Iterator[None]:
    """What the machine refuses, as a StateError."""
    try:
        yield
    except OSError as error:
        raise StateError(f"state: {path} cannot be used: {error.strerror or error}; {remedy}") from error
