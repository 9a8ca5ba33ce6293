"""The state directory: no identity uses a number twice, whatever happens to process, power and disk."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from peer.errors import SettingError, StateError
from peer.key_files import read_allow_list, read_key_ring
from peer.state import (
    IDENTITY,
    LOCK,
    NUMBERS,
    StateDirectory,
    _Numbers,
    _parse_numbers,
    ephemeral,
    open_state,
)
from wire.envelope import SENDERS_REMEMBERED, ReplayMark
from wire.keys import KeyRing

if TYPE_CHECKING:
    from collections.abc import Callable

    from peer.state import AgentState

MARKS = {
    "sender-a": ReplayMark(2**64 - 1, bytes(range(16)), 2**64 - 1),
    "sender-b": ReplayMark(0, bytes(16), 1),
}


WRITE_STEPS = 5  # open the file beside, sync it, put it in its place, open the folder, sync it


class Killed(BaseException):
    """The process is gone: nothing catches this."""


class Disk:
    """Stands between peer.state and the disk; at step `fails_at` it raises instead.

    `lose_power` then undoes what was not durable: renames that no sync of their folder followed, and the
    content of files that were not synced.
    """

    def __init__(self, patch: pytest.MonkeyPatch, failure: Callable[[], BaseException]) -> None:
        self.fails_at = 0
        self.steps = 0
        self._failure = failure
        self._opened: dict[int, Path] = {}
        self._synced: set[Path] = set()
        self._renamed: list[tuple[Path, bytes | None]] = []
        self._open, self._replace = os.open, os.replace
        patch.setattr(os, "open", self.open)
        patch.setattr(os, "fsync", self.fsync)
        patch.setattr(os, "replace", self.replace)

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.fails_at:
            raise self._failure()

    def open(self, path: Path, *arguments: Any, **keywords: Any) -> int:
        self.step()
        descriptor = self._open(path, *arguments, **keywords)
        self._opened[descriptor] = Path(path)
        self._synced.discard(Path(path))
        return descriptor

    def fsync(self, descriptor: int) -> None:
        self.step()
        path = self._opened[descriptor]
        if path.is_dir():
            self._renamed.clear()
        self._synced.add(path)

    def replace(self, source: Path, target: Path) -> None:
        self.step()
        self._renamed.append((target, target.read_bytes() if target.exists() else None))
        if source not in self._synced:
            source.write_bytes(b"")
        self._replace(source, target)

    def lose_power(self) -> None:
        for path, before in reversed(self._renamed):
            path.unlink()
            if before is not None:
                path.write_bytes(before)
        self._renamed.clear()


def live(path: Path, used: list[tuple[str, str, int]]) -> None:
    """One start of an agent that enters two epochs; `used` is what the others see of it."""
    with StateDirectory(path) as state:
        name = state.identity.fingerprint
        used.append((name, "incarnation", state.start()))
        for _ in range(2):
            epoch = state.epoch + 1
            state.persist_epoch(epoch)
            used.append((name, "epoch", epoch))
        state.persist_replay(MARKS)


@pytest.mark.parametrize("power_fails", [False, True], ids=["killed", "power lost"])
def test_no_number_is_used_twice_wherever_the_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, power_fails: bool
) -> None:
    """DESIGN (Epochs): a number is on disk before it is used. One life of three ends at each of its steps."""
    disk = Disk(monkeypatch, Killed)
    lived = 0
    while lived < 3:
        folder, used, lived = tmp_path / str(disk.fails_at), [], 0
        disk.steps, disk.fails_at = 0, disk.fails_at + 1
        for _ in range(3):
            try:
                live(folder, used)
                lived += 1
            except Killed:
                if power_fails:
                    disk.lose_power()
        assert len(set(used)) == len(used)
        for kind in ("incarnation", "epoch"):
            of_last = [number for name, what, number in used if what == kind and name == used[-1][0]]
            assert of_last == sorted(of_last)
    assert disk.steps == 3 * (1 + WRITE_STEPS * 4) + WRITE_STEPS * 2, "each was a place to end at"
    assert used[-1][1:] == ("epoch", 6)


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, lambda: OSError(errno.ENOSPC, "No space left on device"))
    with StateDirectory(tmp_path / "agent") as state:
        state.start()
        state.persist_epoch(7)
        for step in range(1, WRITE_STEPS + 1):
            disk.steps, disk.fails_at = 0, step
            with pytest.raises(StateError, match=rf"{NUMBERS} cannot be used: No space left.*; make room"):
                state.persist_epoch(8)
            assert state.epoch == 7
        state.persist_epoch(8)
        disk.steps, disk.fails_at = 0, 1
        with pytest.raises(StateError, match="No space left"):
            state.persist_replay(MARKS)
        assert state.marks == {}
    with StateDirectory(tmp_path / "agent") as state:
        assert (state.incarnation, state.epoch) == (1, 8)


@pytest.mark.parametrize("make", [lambda path: open_state(path), lambda _: ephemeral(bytes(32))])
def test_both_states_keep_what_they_are_told(tmp_path: Path, make: Callable[[Path], AgentState]) -> None:
    state = make(tmp_path)
    assert (state.incarnation, state.epoch, state.marks) == (0, 0, {})
    with pytest.raises(AssertionError):
        state.persist_epoch(1)
    assert state.start() == state.incarnation == 1
    state.persist_epoch(300)
    for wrong in (300, 299, 2**64):
        with pytest.raises(AssertionError):
            state.persist_epoch(wrong)
    state.persist_replay(MARKS)
    assert (state.epoch, state.marks) == (300, MARKS)
    with pytest.raises(AssertionError):
        state.start()
    state.close()


def test_a_state_in_memory_is_started_again_when_it_is_closed() -> None:
    state = ephemeral(bytes(32))
    state.start()
    state.persist_epoch(7)
    state.close()
    with pytest.raises(AssertionError):
        state.persist_epoch(8)
    assert (state.start(), state.epoch) == (2, 7)


def test_the_next_start_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    with StateDirectory(tmp_path / "new" / "agent") as first:
        first.start()
        first.persist_epoch(2**64 - 1)
        first.persist_replay(MARKS)
    with StateDirectory(tmp_path / "new" / "agent") as second:
        assert second.identity.public == first.identity.public
        assert (second.incarnation, second.epoch) == (1, 2**64 - 1)
        assert list(second.marks.items()) == list(MARKS.items()), (
            "in order: those heard last are kept longest"
        )
        assert second.start() == 2
    assert open_state(None).identity.public != open_state(None).identity.public


def test_as_many_marks_as_are_remembered_can_be_kept(tmp_path: Path) -> None:
    mark = MARKS["sender-a"]
    marks = {f"{number:020}": mark for number in range(SENDERS_REMEMBERED)}
    with StateDirectory(tmp_path) as state:
        state.persist_replay(marks)
    with StateDirectory(tmp_path) as state:
        assert state.marks == marks


def test_only_the_user_may_look(tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    with StateDirectory(folder):
        pass
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {"agent": 0o700, LOCK: 0o600, IDENTITY: 0o600, NUMBERS: 0o600}
    (folder / IDENTITY).chmod(0o660)  # as on a Kubernetes volume
    StateDirectory(folder).close()
    (folder / IDENTITY).chmod(0o604)
    with pytest.raises(StateError, match=rf"open to every user of this machine; run: chmod 600 .*{IDENTITY}"):
        StateDirectory(folder)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with StateDirectory(tmp_path), pytest.raises(StateError, match=f"in use by process {os.getpid()};"):
        StateDirectory(tmp_path)
    StateDirectory(tmp_path).close()


def test_the_lock_is_given_up_when_what_is_being_written_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a new process could read an old number, which the late write of the former then brings back."""
    synced, go_on = threading.Event(), threading.Event()
    sync = os.fsync

    def slowly(descriptor: int) -> None:
        synced.set()
        go_on.wait()
        sync(descriptor)

    state = StateDirectory(tmp_path)
    state.start()
    with ThreadPoolExecutor(2) as executor:
        monkeypatch.setattr(os, "fsync", slowly)
        writing = executor.submit(state.persist_epoch, 1)
        synced.wait()
        closing = executor.submit(state.close)
        try:
            with pytest.raises(StateError, match="in use by process"):
                StateDirectory(tmp_path)
        finally:
            go_on.set()
        writing.result()
        closing.result()
    with StateDirectory(tmp_path) as next_one:
        assert next_one.epoch == 1
    with pytest.raises(AssertionError):
        state.persist_epoch(2)


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StateError, match=r"cannot be used: (File exists|Not a dir.*); give a directory"):
            StateDirectory(path)
    (tmp_path / IDENTITY).mkdir()
    with pytest.raises(StateError, match=rf"{IDENTITY} cannot be used: Is a directory"):
        StateDirectory(tmp_path)


def test_damage_of_numbers_is_seen_whatever_it_is() -> None:
    """Each bit of the file counts, and each byte of its length."""
    whole = _Numbers("fingerprint", 1, 5, MARKS).to_text().encode()
    assert _parse_numbers(whole.decode()) == _Numbers("fingerprint", 1, 5, MARKS)
    flipped = [bytearray(whole) for _ in range(8 * len(whole))]
    for bit, content in enumerate(flipped):
        content[bit // 8] ^= 1 << bit % 8
    others = [b"[" * 2**20, b"1", b"[]", b"null", whole + whole, b"{}", b'{"version": 1, "replay": 3}']
    for content in (*(whole[:length] for length in range(len(whole))), *flipped, *others):
        newer = re.match(rb'{"version": [2-9],', content)
        with pytest.raises(
            ValueError, match="written by a newer release" if newer else "damaged or cut short"
        ):
            _parse_numbers(content.decode(errors="replace"))


def test_an_identity_whose_numbers_are_damaged_is_refused_and_the_remedy_works(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        state.start()
        state.persist_epoch(5)
    whole = (tmp_path / NUMBERS).read_text(encoding="utf-8")
    remedy = f"; or delete {IDENTITY} and {NUMBERS} there to start as a new identity"
    for content, problem in (
        (whole[:-1], "is damaged or cut short, so what its identity used is lost"),
        (whole.replace('"version": 1', '"version": 2'), "was written by a newer release: use that one"),
    ):
        (tmp_path / NUMBERS).write_text(content, encoding="utf-8")
        with pytest.raises(StateError, match=re.escape(f"state: {tmp_path / NUMBERS} {problem}{remedy}")):
            StateDirectory(tmp_path)
    for name in (IDENTITY, NUMBERS):
        (tmp_path / name).unlink()
    with StateDirectory(tmp_path) as renewed:
        assert renewed.identity.fingerprint != state.identity.fingerprint
        assert (renewed.incarnation, renewed.epoch) == (0, 0)


def test_an_identity_never_runs_without_its_numbers(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with StateDirectory(tmp_path / name) as state:
            state.start()
            state.persist_replay(MARKS)
    (tmp_path / "a" / NUMBERS).rename(tmp_path / "kept")
    with pytest.raises(
        StateError, match=rf"{NUMBERS} is missing.*; delete {IDENTITY} there to start as a new"
    ):
        StateDirectory(tmp_path / "a")
    (tmp_path / "b" / NUMBERS).rename(tmp_path / "a" / NUMBERS)
    with pytest.raises(
        StateError, match=rf"belongs to {state.identity.fingerprint}, .*; delete {IDENTITY} there"
    ):
        StateDirectory(tmp_path / "a")
    (tmp_path / "a" / IDENTITY).unlink()
    with StateDirectory(tmp_path / "a") as renewed:
        assert renewed.identity.fingerprint != state.identity.fingerprint
        assert (renewed.incarnation, renewed.epoch) == (0, 0)
        assert renewed.marks == MARKS, "what came from others still counts"


def test_a_damaged_identity_is_refused_and_never_shown(tmp_path: Path) -> None:
    StateDirectory(tmp_path).close()
    path = tmp_path / IDENTITY
    whole = path.read_bytes()
    for content in (b"", whole[:20], whole[:-5], b"\xff" + whole):
        path.write_bytes(content)
        with pytest.raises(
            StateError, match=rf"{IDENTITY} is damaged: .*; delete {IDENTITY} there"
        ) as caught:
            StateDirectory(tmp_path)
        assert whole.split()[1][:6].decode() not in str(caught.value)


def test_files_that_the_user_names(tmp_path: Path) -> None:
    ring = KeyRing.new(bytes(32))
    path = tmp_path / "file"
    path.write_text(ring.to_text(), encoding="utf-8")
    assert read_key_ring(path) == ring
    with pytest.raises(SettingError, match=r"allow: '.*file' is not possible; line 1 is no fingerprint"):
        read_allow_list(path)
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(SettingError, match=r"key: '.*file' is not possible; line 1 does not begin with"):
        read_key_ring(path)
    path.write_text("abcd" * 5, encoding="utf-8")
    assert read_allow_list(path) == {"abcd" * 5}
    with pytest.raises(SettingError, match=r"key: '.*none' is not possible; it cannot be read: No such file"):
        read_key_ring(tmp_path / "none")
