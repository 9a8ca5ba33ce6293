"""What an agent keeps, wherever its process ends and whatever a disk loses of what was not synced."""

from __future__ import annotations

import errno
import hashlib
import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from peer.checkpoints import Checkpoint, CheckpointError, CheckpointStore, digest
from peer.disk import COPY, discard
from peer.errors import NewerReleaseError, StateError
from peer.hunt.disk import VirtualDisk
from peer.state_files import IDENTITY, NUMBERS, StateFiles, look
from wire.envelope import ReplayMark

if TYPE_CHECKING:
    from collections.abc import Callable

KEEP = 2
MARK = ReplayMark(3, bytes(range(16)), 7)


class Killed(BaseException):
    """The process is gone: nothing catches this."""


class Countdown:
    """Ends the process at one of its operations on the disk."""

    def __init__(self, failure: Callable[[], BaseException] = Killed) -> None:
        self.left = 0
        self.seen: list[str] = []
        self._failure = failure

    def __call__(self, operation: str, name: str) -> None:
        self.seen.append(f"{operation} {name}")
        self.left -= 1
        if self.left == 0:
            raise self._failure()


def checkpoint(number: int) -> Checkpoint:
    values = {"ticks": number, "deep": [1.5, {"a": None}, "text"]}
    return Checkpoint("me", "model", 1, number, "2026-01-01", values, bytes([number]) * 64)


def live(disk: VirtualDisk, begun: list[int], kept: list[int]) -> None:
    """One life that keeps three checkpoints."""
    store = CheckpointStore(disk, keep=KEEP)
    for _ in range(3):
        begun.append(len(begun) + 1)
        store.write(checkpoint(begun[-1]))
        kept.append(begun[-1])


@pytest.mark.parametrize("power_fails", [False, True], ids=["killed", "power lost"])
def test_a_checkpoint_that_was_kept_is_there_wherever_the_process_ends(power_fails: bool) -> None:
    """At every operation, for many ways in which a disk may lose what it has not promised."""
    operations = 0
    for seed in range(20 if power_fails else 2):
        ends_at = 0
        while True:
            ends_at += 1
            countdown = Countdown()
            disk = VirtualDisk(random.Random(f"{seed}/{ends_at}"), countdown)
            begun: list[int] = []
            kept: list[int] = []
            live(disk, begun, kept)
            countdown.left, countdown.seen = ends_at, []
            try:
                live(disk, begun, kept)
            except Killed:
                pass
            else:
                break
            operations += 1
            if power_fails:
                disk.lose_power()
            _, found, wrong = CheckpointStore(disk, keep=KEEP).newest()
            assert found is not None
            assert found.values["ticks"] in (kept[-1], begun[-1])
            assert found == checkpoint(found.epoch)
            assert power_fails or not wrong, "what is half written is no checkpoint"
            live(disk, begun, kept)
            assert CheckpointStore(disk).newest()[1] == checkpoint(begun[-1])
            assert len(disk.names()) == 2 * KEEP, "nothing half written is left"
    assert operations > 50


@pytest.mark.parametrize("power_fails", [False, True], ids=["killed", "power lost"])
def test_no_number_is_used_twice_wherever_the_process_ends(power_fails: bool) -> None:
    """DESIGN (Epochs): a number is on disk before it is used. One life of four ends at each of its steps."""
    steps = 0
    for seed in range(20 if power_fails else 2):
        ends_at, lived = 0, 0
        while lived < 4:
            ends_at += 1
            countdown = Countdown()
            disk = VirtualDisk(random.Random(f"{seed}/{ends_at}"), countdown)
            countdown.left, lived = ends_at, 0
            used: list[tuple[str, str, int]] = []
            for life in range(4):
                try:
                    files = StateFiles(disk, lambda life=life: bytes([life]) * 32)  # type: ignore[misc]
                    for kind in ("incarnation", "epoch", "epoch"):
                        number = getattr(files.numbers, kind) + 1
                        files.keep(**{kind: number})
                        used.append((files.identity.fingerprint, kind, number))
                        files.keep_marks({"other": MARK})
                    lived += 1
                except Killed:
                    steps += 1
                    if power_fails:
                        disk.lose_power()
            assert len(set(used)) == len(used)
            for kind in ("incarnation", "epoch"):
                of_last = [number for name, what, number in used if what == kind and name == used[-1][0]]
                assert of_last == sorted(of_last)
            assert files.numbers.replay == {"other": MARK}
    assert steps > 100


@pytest.mark.parametrize("name", [IDENTITY, IDENTITY + COPY, NUMBERS, NUMBERS + COPY])
def test_one_damaged_file_loses_nothing_and_is_told(name: str) -> None:
    for seed in range(50):
        disk = VirtualDisk(random.Random(seed))
        first = StateFiles(disk, lambda: bytes(32))
        first.keep(epoch=5, incarnation=2)
        disk.damage(name)
        second = StateFiles(disk, lambda: bytes(range(32)))
        assert second.identity.fingerprint == first.identity.fingerprint
        assert (second.numbers.epoch, second.numbers.incarnation) == (5, 2)
        found = disk.read(name, 2**20)
        assert len(second.findings) <= 1
        if second.findings:
            assert f"{name} is damaged" in second.findings[0]
            assert second.findings[0].endswith("its copy is whole and was used to mend it")
        third = StateFiles(disk, lambda: bytes(range(32)))
        assert third.findings == [], "it was mended"
        assert third.numbers == second.numbers
        assert found == disk.read(name, 2**20)


@pytest.mark.parametrize(
    "names",
    [(IDENTITY, NUMBERS), (IDENTITY + COPY, NUMBERS + COPY), (IDENTITY, NUMBERS + COPY)],
    ids=["files", "copies", "one of each"],
)
def test_missing_files_are_told_and_mended(names: tuple[str, str]) -> None:
    disk = VirtualDisk(random.Random(0))
    first = StateFiles(disk, lambda: bytes(32))
    first.keep(epoch=5)
    for name in names:
        disk.remove(name)
    missing = [f"{name} is missing; its copy is whole" for name in names]
    assert list(look(disk).findings) == missing
    second = StateFiles(disk, lambda: bytes(range(32)))
    assert second.findings == [f"{one} and was used to mend it" for one in missing]
    assert (second.identity.fingerprint, second.numbers) == (first.identity.fingerprint, first.numbers)
    assert look(disk).findings == ()


def test_a_lost_identity_is_told_but_not_one_that_was_never_used() -> None:
    """It became a new one without a word. Numbers are written first: alone they are of a start cut short."""
    disk = VirtualDisk(random.Random(0))
    assert look(disk).lost == ""
    first = StateFiles(disk, lambda: bytes(32))
    for used in (False, True):
        if used:
            first.keep(incarnation=1)
        for name in (IDENTITY, IDENTITY + COPY):
            discard(disk, name)
        lost = f"the identity {first.identity.fingerprint} is lost: {IDENTITY} and its copy are missing"
        assert look(disk).lost == (lost if used else "")
    second = StateFiles(disk, lambda: bytes(range(32)))
    assert second.findings == [f"{lost}; a new one was made, {second.identity.fingerprint}"]
    assert look(disk).lost == ""
    assert StateFiles(disk, lambda: bytes(32)).findings == []


def test_both_damaged_are_refused() -> None:
    for name, lost in ((NUMBERS, ", so what its identity used is lost"), (IDENTITY, "")):
        disk = VirtualDisk(random.Random(1))
        StateFiles(disk, lambda: bytes(32))
        for one in (name, name + COPY):
            disk.write(one, b"nonsense")
        with pytest.raises(StateError, match=rf"{name} is damaged.*{lost}; delete {IDENTITY}, {NUMBERS} and"):
            StateFiles(disk, lambda: bytes(32))


def test_what_cannot_be_trusted_is_refused_with_a_remedy() -> None:
    """No numbers, another identity's, those of a newer release, or a disk that cannot be read."""
    remedy = f"delete {IDENTITY}, {NUMBERS} and"
    disk = VirtualDisk(random.Random(1))
    StateFiles(disk, lambda: bytes(32))
    for one in (NUMBERS, NUMBERS + COPY):
        disk.remove(one)
    with pytest.raises(StateError, match=rf"{NUMBERS} is missing, so what the identity .* is lost; {remedy}"):
        look(disk)
    other = VirtualDisk(random.Random(2))
    StateFiles(other, lambda: bytes(range(32)))
    whole = other.read(NUMBERS, 2**20)
    disk.write(NUMBERS, whole)
    with pytest.raises(StateError, match=rf"{NUMBERS} belongs to \S+, {IDENTITY} beside it to \S+; {remedy}"):
        look(disk)
    newer = json.loads(whole) | {"version": 2}
    del newer["check"]
    check = hashlib.blake2b(json.dumps(newer).encode(), digest_size=16).hexdigest()
    other.write(NUMBERS, json.dumps(newer | {"check": check}).encode())
    with pytest.raises(StateError, match=rf"was written by a newer release: use that one; or {remedy}"):
        look(other)
    unreadable = VirtualDisk(random.Random(3), Countdown(lambda: OSError(5, "Input/output error")))
    unreadable._before.left = 1  # type: ignore[attr-defined]
    with pytest.raises(StateError, match=rf"{IDENTITY} cannot be used: Input/output error; give a directory"):
        look(unreadable)


def test_the_higher_of_two_numbers_counts() -> None:
    """Killed between a file and its copy: the number may not have been used, and is not used again."""
    disk = VirtualDisk(random.Random(0))
    files = StateFiles(disk, lambda: bytes(32))
    old = disk.read(NUMBERS + COPY, 2**20)
    files.keep(epoch=9)
    disk.write(NUMBERS + COPY, old)
    assert StateFiles(disk, lambda: bytes(32)).numbers.epoch == 9
    disk.write(NUMBERS, old)
    assert StateFiles(disk, lambda: bytes(32)).numbers.epoch == 9


def test_another_identitys_copy_is_not_believed() -> None:
    disk, other = VirtualDisk(random.Random(0)), VirtualDisk(random.Random(0))
    files = StateFiles(disk, lambda: bytes(32))
    strange = StateFiles(other, lambda: bytes(range(32)))
    strange.keep(epoch=7)
    disk.write(NUMBERS + COPY, other.read(NUMBERS, 2**20))
    assert StateFiles(disk, lambda: bytes(32)).numbers == files.numbers
    disk.write(IDENTITY + COPY, other.read(IDENTITY, 2**20))
    assert StateFiles(disk, lambda: bytes(32)).identity.fingerprint == files.identity.fingerprint
    assert disk.read(IDENTITY + COPY, 2**20) == disk.read(IDENTITY, 2**20)


@pytest.mark.parametrize("ending", [".json", ".safetensors"])
def test_a_damaged_checkpoint_is_passed_over_and_named(ending: str) -> None:
    for seed in range(50):
        disk = VirtualDisk(random.Random(seed))
        store = CheckpointStore(disk)
        store.write(checkpoint(1))
        store.write(checkpoint(2))
        whole = disk.read(f"checkpoint-00000002{ending}", 2**20)
        disk.damage(f"checkpoint-00000002{ending}")
        number, found, wrong = store.newest()
        if disk.read(f"checkpoint-00000002{ending}", 2**20) == whole:
            assert (number, found) == (2, checkpoint(2))
        else:
            assert (number, found) == (1, checkpoint(1))
            assert wrong[0].startswith("checkpoint 2 is ")
            store.write(checkpoint(3))
            assert store.numbers() == [1, 3], "no room is kept for what is no checkpoint"


def test_what_is_wrong_is_said() -> None:
    disk = VirtualDisk(random.Random(0))
    store = CheckpointStore(disk)
    store.write(checkpoint(1))
    tensors, manifest = "checkpoint-00000001.safetensors", "checkpoint-00000001.json"
    whole = disk.read(manifest, 2**20)
    disk.write(tensors, bytes(20))
    with pytest.raises(CheckpointError, match="checkpoint 1 is cut short: 20 of 64 bytes are there"):
        store.load(1)
    disk.write(tensors, bytes(65))
    with pytest.raises(CheckpointError, match="checkpoint 1 is cut short: more of 64 bytes are there"):
        store.load(1)
    disk.write(tensors, bytes(64))
    with pytest.raises(CheckpointError, match="its tensors are not those that were kept"):
        store.load(1)
    disk.remove(tensors)
    with pytest.raises(CheckpointError, match=rf"{tensors} cannot be read: No such file"):
        store.load(1)
    newer = json.loads(whole) | {"version": 2}
    del newer["check"]
    disk.write(manifest, json.dumps(newer | {"check": digest(json.dumps(newer).encode())}).encode())
    with pytest.raises(NewerReleaseError, match="checkpoint 1 was written by a newer release: use that one"):
        store.newest()
    for content in (b"", b"[]", b"null", b'{"version": 1}', b"[" * 2**16, whole + b" ", b"{}"):
        disk.write(manifest, content)
        with pytest.raises(CheckpointError, match="its description makes no sense"):
            store.load(1)
    disk.write(manifest, whole)
    disk.replace(manifest, "checkpoint-00000005.json")
    with pytest.raises(CheckpointError, match="checkpoint 5 is damaged"):
        store.load(5)
    assert store.newest()[:2] == (0, None)


def test_the_last_few_are_kept_and_numbers_go_on() -> None:
    disk = VirtualDisk(random.Random(0))
    assert [CheckpointStore(disk, keep=3).write(checkpoint(n)) for n in range(1, 6)] == [1, 2, 3, 4, 5]
    store = CheckpointStore(disk, keep=3)
    assert store.numbers() == [3, 4, 5]
    assert [store.load(number) for number in store.numbers()] == [checkpoint(n) for n in (3, 4, 5)]


def test_a_full_disk_gives_up_older_ones_for_a_newer_but_never_the_last() -> None:
    disk = VirtualDisk(random.Random(0))
    store = CheckpointStore(disk, keep=3)
    for number in range(1, 4):
        store.write(checkpoint(number))
    bytes_used = sum(len(disk.read(name, 2**20)) for name in disk.names())
    disk.room = bytes_used + 100
    assert store.write(checkpoint(4)) == 4
    assert store.numbers() == [2, 3, 4]
    with pytest.raises(OSError, match="No space left"):
        store.write(replace(checkpoint(5), tensors=bytes(10 * bytes_used)))
    assert store.numbers() == [4]
    assert store.newest() == (4, checkpoint(4), ())
    assert len(disk.names()) == 2
    store.write(checkpoint(6))
    assert store.newest()[:2] == (5, checkpoint(6))


def test_what_is_damaged_makes_room_before_what_is_good() -> None:
    """A full disk gave up the good checkpoint that the agent went on from, and kept the damaged one."""
    for room in (0, 100):
        disk = VirtualDisk(random.Random(0))
        store = CheckpointStore(disk, keep=3)
        for number in range(1, 4):
            store.write(checkpoint(number))
        disk.write("checkpoint-00000003.safetensors", bytes(64))
        store = CheckpointStore(disk, keep=3)
        assert store.newest()[0] == 2
        disk.room = sum(len(disk.read(name, 2**20)) for name in disk.names()) if room else 0
        if room:
            assert store.write(checkpoint(4)) == 4
            assert store.numbers() == [1, 2, 4], "the damaged one was room enough"
        else:
            with pytest.raises(OSError, match="No space left"):
                store.write(checkpoint(4))
            assert store.numbers() == [2], "the newest good one is never given up"
        assert CheckpointStore(disk).newest()[2] == ()


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EFBIG, errno.EACCES])
def test_only_a_disk_without_room_makes_older_ones_give_way(number: int) -> None:
    """No file that is removed mends anything else."""
    countdown = Countdown(lambda: OSError(number, "refused"))
    disk = VirtualDisk(random.Random(0), countdown)
    store = CheckpointStore(disk, keep=3)
    for one in range(1, 4):
        store.write(checkpoint(one))
    for operation in range(1, 8):
        countdown.left = operation
        with pytest.raises(OSError, match="refused"):
            store.write(checkpoint(4))
        assert [store.load(one) for one in store.numbers()] == [checkpoint(one) for one in (1, 2, 3)]
    assert len(disk.names()) == 6, "nothing half written is left"


def test_a_quota_is_room_too() -> None:
    countdown = Countdown(lambda: OSError(errno.EDQUOT, "Disk quota exceeded"))
    disk = VirtualDisk(random.Random(0), countdown)
    store = CheckpointStore(disk, keep=3)
    store.write(checkpoint(1))
    store.write(checkpoint(2))
    countdown.left = 1
    assert store.write(checkpoint(3)) == 3
    assert store.numbers() == [2, 3]


def test_what_cannot_be_removed_makes_no_room() -> None:
    """It is not tried again and again."""
    is_read_only = False

    def refuse(operation: str, _: str) -> None:
        if is_read_only and operation in ("write", "remove"):
            raise OSError(errno.ENOSPC, "No space left on device")

    disk = VirtualDisk(random.Random(0), refuse)
    store = CheckpointStore(disk, keep=3)
    store.write(checkpoint(1))
    store.write(checkpoint(2))
    is_read_only = True
    with pytest.raises(OSError, match="No space left"):
        store.write(checkpoint(3))
    assert store.numbers() == [1, 2]


def test_what_a_killed_process_left_makes_room() -> None:
    """On a disk with room for two it stood in the way of every checkpoint, for ever."""
    ample = VirtualDisk(random.Random(0))
    CheckpointStore(ample).write(checkpoint(1))
    room = 2 * sum(len(ample.read(name, 2**20)) for name in ample.names()) + 10
    for left in ("checkpoint-00000002.safetensors.new", "checkpoint-00000002.safetensors"):
        for at_once in (False, True):
            disk = VirtualDisk(random.Random(0))
            CheckpointStore(disk, keep=1).write(checkpoint(1))
            disk.write("a file of somebody else", b"")
            disk.room = room
            disk.write(left, bytes(64))
            store = CheckpointStore(disk, keep=1)
            assert store.leftovers() == [left]
            assert store.newest() == (1, checkpoint(1), ())
            if at_once:
                store.remove_leftovers()
                assert store.leftovers() == []
            assert store.write(checkpoint(3)) == 3
            assert store.newest() == (3, checkpoint(3), ())
            assert len(disk.names()) == 3
