"""The state directory: no identity uses a number twice, whatever happens to process, power and disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import re
import shutil
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from peer.checkpoints import Checkpoint
from peer.disk import COPY, discard
from peer.errors import SettingError, StateError
from peer.file_disk import FileDisk
from peer.hunt.disk import VirtualDisk
from peer.key_files import read_allow_list, read_key_ring
from peer.state import LOCK, StateDirectory, ephemeral, look_at, open_state
from peer.state_files import IDENTITY, NUMBERS, Numbers
from wire.envelope import SENDERS_REMEMBERED, ReplayMark
from wire.keys import KeyRing

if TYPE_CHECKING:
    from collections.abc import Callable

    from peer.disk import Disk
    from peer.state import AgentState

MARKS = {
    "sender-a": ReplayMark(2**64 - 1, bytes(range(16)), 2**64 - 1),
    "sender-b": ReplayMark(0, bytes(16), 1),
}
CHECKPOINT = Checkpoint("me", "model", 1, 1, "2026-01-01T00:00:00+00:00", {"ticks": 1}, bytes(64))


def test_files_reach_the_disk_before_they_are_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `peer.disk.Disk` promises: content and names are durable when they have been synced."""
    done: list[str] = []
    sync, move = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        done.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        sync(descriptor)

    def replace(source: Path, target: Path) -> None:
        done.append(f"replace {target.name}")
        move(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    folder = tmp_path / "agent"
    both = [
        *(f"sync {NUMBERS}.new", f"replace {NUMBERS}"),
        *(f"sync {NUMBERS}.copy.new", f"replace {NUMBERS}.copy", "sync agent"),
    ]
    with StateDirectory(folder) as state:
        assert done == both + [line.replace(NUMBERS, IDENTITY) for line in both]
        done.clear()
        state.start()
        assert done == both
        done.clear()
        state.persist_replay(MARKS)
        assert done == [both[0], both[1], both[4]]
        done.clear()
        state.keep_checkpoint(CHECKPOINT)
        name = "checkpoint-00000001"
        assert done == [
            *(f"sync {name}.safetensors.new", f"replace {name}.safetensors"),
            *(f"sync {name}.json.new", f"replace {name}.json", "sync agent"),
        ]


def test_both_kinds_of_disk_do_the_same(tmp_path: Path) -> None:
    """The virtual one stands for the real one wherever processes are killed."""
    disks: tuple[Disk, ...] = (FileDisk(tmp_path), VirtualDisk(random.Random(0)))
    for disk in disks:
        disk.write("a", bytes(10))
        disk.write("a", b"shorter")
        disk.write("b", b"")
        disk.sync("a")
        disk.replace("a", "b")
        disk.sync_names()
        assert disk.names() == ["b"]
        assert disk.read("b", 5) == b"short"
        for act in (
            lambda disk=disk: disk.read("a", 1),
            lambda disk=disk: disk.remove("a"),
            lambda disk=disk: disk.sync("a"),
            lambda disk=disk: disk.replace("a", "c"),
        ):
            with pytest.raises(FileNotFoundError):
                act()
        discard(disk, "a")
        disk.remove("b")
        assert disk.names() == []


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with StateDirectory(tmp_path / "agent") as state:
        state.start()
        state.persist_epoch(7)
        for name in ("open", "fsync", "replace"):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, refuse)
                with pytest.raises(
                    StateError, match=rf"{NUMBERS} cannot be used: No space left.*; make room"
                ):
                    state.persist_epoch(8)
                with pytest.raises(StateError, match="No space left"):
                    state.persist_replay(MARKS)
                with pytest.raises(StateError, match=r"agent cannot be used: No space left.*; make room"):
                    state.keep_checkpoint(CHECKPOINT)
            assert state.epoch == 7
        state.persist_epoch(8)
        assert state.marks == {}
        assert sorted(path.name for path in state.path.iterdir()) == sorted(
            (LOCK, IDENTITY, NUMBERS, IDENTITY + COPY, NUMBERS + COPY)
        )
    with StateDirectory(tmp_path / "agent") as state:
        assert (state.incarnation, state.epoch) == (1, 8)


def test_checkpoints_are_found_again_and_what_was_wrong_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    with StateDirectory(folder, keep=2) as state:
        assert state.checkpoint is None
        own = replace(CHECKPOINT, identity=state.identity.fingerprint)
        for epoch in range(3):
            state.keep_checkpoint(replace(own, epoch=epoch))
    assert len(list(folder.glob("checkpoint-*"))) == 4
    moved = folder.rename(tmp_path / "elsewhere")
    with StateDirectory(moved) as state:
        assert state.checkpoint == replace(own, epoch=2)
        assert state.findings == []
    tensors = moved / "checkpoint-00000003.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with StateDirectory(moved) as state:
        assert state.checkpoint == replace(own, epoch=1)
        assert state.findings == [
            "checkpoint 3 is cut short: 63 of 64 bytes are there",
            "checkpoint 2 is whole and is used",
        ]
    (moved / "checkpoint-00000002.json").unlink()
    (moved / NUMBERS).write_text("nonsense", encoding="utf-8")
    with StateDirectory(moved) as state:
        assert state.checkpoint is None
        assert state.findings == [
            f"{moved / NUMBERS} is damaged or cut short; its copy is whole and was used to mend it",
            "checkpoint 3 is cut short: 63 of 64 bytes are there",
            "no checkpoint is whole: what was learned is lost, the identity is not",
        ]


def test_who_goes_on_from_the_checkpoint_of_another_identity_says_so(tmp_path: Path) -> None:
    """Its key was lost, or it was deleted to start as a new one; what it had learned is of use to anybody."""
    with StateDirectory(tmp_path) as state:
        state.start()
        lost = state.identity.fingerprint
        state.keep_checkpoint(replace(CHECKPOINT, identity=lost))
    unlink_both(tmp_path, IDENTITY)
    with StateDirectory(tmp_path) as state:
        own = state.identity.fingerprint
        state.start()
        assert state.checkpoint is not None
        missing = f"{tmp_path / IDENTITY} and its copy are missing"
        told = f"checkpoint 1 is of the identity {lost}, whose key is not here; the"
        assert state.findings == [
            f"the identity {lost} is lost: {missing}; a new one was made, {own}",
            f"{told} new identity {own} goes on from what it had learned",
        ]
    with StateDirectory(tmp_path) as state:
        assert state.findings == [f"{told} identity {own} goes on from what it had learned"]
        state.keep_checkpoint(replace(CHECKPOINT, identity=own))
    with StateDirectory(tmp_path) as state:
        assert state.findings == []
    for name in (IDENTITY, NUMBERS):
        unlink_both(tmp_path, name)
    with StateDirectory(tmp_path) as state:
        (finding,) = state.findings
        assert finding.startswith(f"checkpoint 2 is of the identity {own}, whose key is not here; the new")


def test_what_a_killed_process_left_is_gone_when_the_next_one_starts(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        state.keep_checkpoint(CHECKPOINT)
    for name in ("checkpoint-00000002.safetensors.new", "checkpoint-00000003.safetensors"):
        (tmp_path / name).write_bytes(bytes(64))
    with StateDirectory(tmp_path) as state:
        assert state.checkpoint == CHECKPOINT
        assert {path.name for path in tmp_path.glob("checkpoint-*")} == {
            "checkpoint-00000001.safetensors",
            "checkpoint-00000001.json",
        }


def test_a_directory_that_vanishes_is_as_a_disk_that_refuses(tmp_path: Path) -> None:
    """FileNotFoundError went through as it was, and ended the agent."""
    with StateDirectory(tmp_path / "agent") as state:
        state.start()
        shutil.rmtree(tmp_path / "agent")
        with pytest.raises(StateError, match=r"agent cannot be used: No such file or directory; make room"):
            state.keep_checkpoint(CHECKPOINT)
        with pytest.raises(StateError, match=rf"{NUMBERS} cannot be used: No such file or directory"):
            state.persist_epoch(1)
        with pytest.raises(StateError, match="No such file or directory"):
            state.persist_replay(MARKS)


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
    files = (LOCK, IDENTITY, NUMBERS, IDENTITY + COPY, NUMBERS + COPY)
    assert modes == {"agent": 0o700} | dict.fromkeys(files, 0o600)
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
    missing = r"cannot be used: No such file or directory; give a directory that you may write to"
    with pytest.raises(StateError, match=f"state: /proc/x {missing}"):
        StateDirectory(Path("/proc/x"))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / LOCK).symlink_to(tmp_path / "nowhere" / LOCK)
    with pytest.raises(StateError, match=f"{LOCK} {missing}"):
        StateDirectory(tmp_path / "linked")
    (tmp_path / IDENTITY).mkdir(0o700)
    with pytest.raises(StateError, match=rf"{IDENTITY} cannot be used: Is a directory"):
        StateDirectory(tmp_path)


def test_damage_of_numbers_is_seen_whatever_it_is() -> None:
    """Each bit of the file counts, and each byte of its length."""
    whole = Numbers("fingerprint", 1, 5, MARKS).to_text().encode()
    assert Numbers.parse(whole.decode()) == Numbers("fingerprint", 1, 5, MARKS)
    flipped = [bytearray(whole) for _ in range(8 * len(whole))]
    for bit, content in enumerate(flipped):
        content[bit // 8] ^= 1 << bit % 8
    others = [b"[" * 2**20, b"1", b"[]", b"null", whole + whole, b"{}", b'{"version": 1, "replay": 3}']
    for content in (*(whole[:length] for length in range(len(whole))), *flipped, *others):
        with pytest.raises(ValueError, match="damaged or cut short"):
            Numbers.parse(content.decode(errors="replace"))


def write_both(folder: Path, name: str, content: bytes) -> None:
    """A file and its copy."""
    for one in (name, name + COPY):
        (folder / one).write_bytes(content)


def unlink_both(folder: Path, name: str) -> None:
    for one in (name, name + COPY):
        (folder / one).unlink()


def test_an_identity_whose_numbers_are_damaged_is_refused_and_the_remedy_works(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        state.start()
        state.persist_epoch(5)
    whole = (tmp_path / NUMBERS).read_bytes()
    newer = json.loads(whole) | {"version": 2}
    del newer["check"]
    check = hashlib.blake2b(json.dumps(newer).encode(), digest_size=16).hexdigest()
    remedy = f"delete {IDENTITY}, {NUMBERS} and their copies there to start as a new identity"
    for content, problem in (
        (whole[:-1], "is damaged or cut short, so what its identity used is lost; "),
        (
            json.dumps(newer | {"check": check}).encode(),
            "was written by a newer release: use that one; or ",
        ),
    ):
        write_both(tmp_path, NUMBERS, content)
        with pytest.raises(StateError, match=re.escape(f"state: {tmp_path / NUMBERS} {problem}{remedy}")):
            StateDirectory(tmp_path)
    for name in (IDENTITY, NUMBERS):
        unlink_both(tmp_path, name)
    with StateDirectory(tmp_path) as renewed:
        assert renewed.identity.fingerprint != state.identity.fingerprint
        assert (renewed.incarnation, renewed.epoch) == (0, 0)


def test_an_identity_never_runs_without_its_numbers(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with StateDirectory(tmp_path / name) as state:
            state.start()
            state.persist_replay(MARKS)
    numbers = (tmp_path / "b" / NUMBERS).read_bytes()
    unlink_both(tmp_path / "a", NUMBERS)
    with pytest.raises(StateError, match=rf"{NUMBERS} is missing.*; delete {IDENTITY}, {NUMBERS} and"):
        StateDirectory(tmp_path / "a")
    write_both(tmp_path / "a", NUMBERS, numbers)
    with pytest.raises(
        StateError, match=rf"belongs to {state.identity.fingerprint}, .*; delete {IDENTITY}, {NUMBERS} and"
    ):
        StateDirectory(tmp_path / "a")
    unlink_both(tmp_path / "a", IDENTITY)
    with StateDirectory(tmp_path / "a") as renewed:
        assert renewed.identity.fingerprint != state.identity.fingerprint
        assert (renewed.incarnation, renewed.epoch) == (0, 0)
        assert renewed.marks == MARKS, "what came from others still counts"


def test_a_damaged_identity_is_refused_and_never_shown(tmp_path: Path) -> None:
    StateDirectory(tmp_path).close()
    path = tmp_path / IDENTITY
    whole = path.read_bytes()
    before = look_at(tmp_path).identity
    assert before is not None
    for content in (b"", whole[:20], whole[:-5], b"\xff" + whole):
        write_both(tmp_path, IDENTITY, content)
        for read in (StateDirectory, look_at):
            with pytest.raises(StateError, match=rf"{IDENTITY} is damaged: .*; delete {IDENTITY}") as caught:
                read(tmp_path)
            assert whole.split()[1][:6].decode() not in str(caught.value)
        (tmp_path / (IDENTITY + COPY)).write_bytes(whole)
        found = look_at(tmp_path).identity
        assert found is not None
        assert found.fingerprint == before.fingerprint


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
