"""Who an agent is and which numbers it has used, on a disk.

    identity.key   the secret identity of the agent, see wire/keys.py
    agent.json     version, fingerprint of that identity, incarnation, epoch, replay marks, check

Each has a copy beside it (`.copy`), so that one damaged file loses nothing: a number is used when both are
durable, so either alone holds all that were used.

Invariant: no identity uses an incarnation or enters an epoch that it used or entered before, wherever the
process is killed or the power fails. So both numbers are durable before they are used. And an identity never
outlives its numbers: at the first start agent.json is written before identity.key, and an identity whose
numbers are missing, damaged or another's is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar

from peer.disk import COPY, put
from peer.errors import NewerReleaseError, StateError
from wire.envelope import ReplayMark
from wire.errors import KeyFileError
from wire.keys import SigningIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from peer.disk import Disk

T = TypeVar("T")

IDENTITY: Final = "identity.key"
NUMBERS: Final = "agent.json"
VERSION: Final = 1
FILE_BYTES_MAX: Final = 2**20  # five times the marks of as many senders as are remembered
NEW_IDENTITY: Final = f"delete {IDENTITY}, {NUMBERS} and their copies there to start as a new identity"


@dataclass(frozen=True, slots=True)
class Numbers:
    """The content of agent.json."""

    fingerprint: str
    incarnation: int = 0
    epoch: int = 0
    replay: Mapping[str, ReplayMark] = field(default_factory=dict)

    def to_text(self) -> str:
        """One line of JSON."""
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
        content["check"] = _check(content)
        return json.dumps(content) + "\n"

    @classmethod
    def parse(cls, text: str) -> Numbers:
        """Accepts what `to_text` writes, to the last byte. Raises ValueError, or NewerReleaseError."""
        newer, numbers = False, None
        # Whatever JSON may hold instead of what is expected, one of these comes of it.
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
            content = json.loads(text)
            newer = content["version"] > VERSION and content.pop("check") == _check(content)
            found = cls(
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
            raise NewerReleaseError("was written by a newer release: use that one")
        if numbers is None:
            raise ValueError("is damaged or cut short")
        return numbers


def _check(content: Mapping[str, object]) -> str:
    """A disk that loses a bit must not turn one epoch into another. The same in all versions."""
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Found:
    """What the files hold, as far as it can be trusted."""

    identity: SigningIdentity | None = None
    numbers: Numbers | None = None  # of that identity; without one, of which only the replay marks count
    is_whole: bool = True  # both files and both copies are there and equal
    findings: tuple[str, ...] = ()  # what is wrong with one of them
    lost: str = ""  # without an identity: that there was one, which has used numbers


def look(disk: Disk) -> Found:
    """Read the files; nothing is changed. Raises StateError for what cannot be trusted."""
    findings: list[str] = []
    identities = _read_both(disk, IDENTITY, read_identity, findings)
    numbers = _read_both(disk, NUMBERS, Numbers.parse, findings)
    if not identities:
        former, lost = numbers[0] if numbers else None, ""
        if former is not None and (former.incarnation or former.epoch):  # else its key was never used
            where = disk.place(IDENTITY)
            lost = f"the identity {former.fingerprint} is lost: {where} and its copy are missing"
        return Found(None, former, not numbers, tuple(findings), lost)
    owners = {one.fingerprint for one in numbers}
    identity = next((one for one in identities if one.fingerprint in owners), identities[0])
    where = disk.place(NUMBERS)
    if not numbers:
        raise StateError(
            f"state: {where} is missing, so what the identity beside it used is lost; {NEW_IDENTITY}"
        )
    own = [one for one in numbers if one.fingerprint == identity.fingerprint]
    if not own:
        raise StateError(
            f"state: {where} belongs to {numbers[0].fingerprint}, {IDENTITY} beside it to "
            f"{identity.fingerprint}; {NEW_IDENTITY}"
        )
    if identities[0] is not identity:
        findings.append(f"{disk.place(IDENTITY)} is damaged; its copy is whole")
    highest = replace(
        own[0],
        incarnation=max(one.incarnation for one in own),
        epoch=max(one.epoch for one in own),
    )
    equal_identities = [one.fingerprint for one in identities] == [identity.fingerprint] * 2
    used = [(one.incarnation, one.epoch) for one in own]
    equal_numbers = used == [(highest.incarnation, highest.epoch)] * 2
    return Found(identity, highest, equal_identities and equal_numbers, tuple(findings))


class StateFiles:
    """Both files and their copies. `findings` tells people what was wrong and has been mended.

    The methods block for as long as the disk takes; when one raises StateError, the number that it was to
    keep must not be used.
    """

    def __init__(self, disk: Disk, new_secret: Callable[[], bytes]) -> None:
        """Read them, mend them, make them if there are none. Raises StateError for what cannot be trusted."""
        self._disk = disk
        found = look(disk)
        self.findings = [f"{finding} and was used to mend it" for finding in found.findings]
        if found.identity is None or found.numbers is None:
            marks = {} if found.numbers is None else found.numbers.replay
            self.identity = SigningIdentity(new_secret())
            self.numbers = Numbers(self.identity.fingerprint, replay=marks)
            if found.lost:
                self.findings.append(f"{found.lost}; a new one was made, {self.identity.fingerprint}")
        else:
            self.identity, self.numbers = found.identity, found.numbers
        if found.identity is None or not found.is_whole:
            self._write(self.numbers)
            self._put_both(IDENTITY, self.identity.to_text())

    def keep(self, *, incarnation: int | None = None, epoch: int | None = None) -> None:
        """Make a number durable; `numbers` has it when that is done."""
        numbers = self.numbers
        numbers = replace(
            numbers,
            incarnation=numbers.incarnation if incarnation is None else incarnation,
            epoch=numbers.epoch if epoch is None else epoch,
        )
        self._write(numbers)
        self.numbers = numbers

    def keep_marks(self, marks: Mapping[str, ReplayMark]) -> None:
        """The copy goes without: what comes since a mark is of epochs that are over."""
        numbers = replace(self.numbers, replay=dict(marks))
        with problems(self._disk, NUMBERS):
            put(self._disk, NUMBERS, numbers.to_text().encode())
            self._disk.sync_names()
        self.numbers = numbers

    def _write(self, numbers: Numbers) -> None:
        self._put_both(NUMBERS, numbers.to_text())

    def _put_both(self, name: str, text: str) -> None:
        with problems(self._disk, name):
            for one in (name, name + COPY):
                put(self._disk, one, text.encode())
            self._disk.sync_names()


def _read_both(disk: Disk, name: str, parse: Callable[[str], T], findings: list[str]) -> list[T]:
    """What a file and its copy hold, as far as they are whole. Raises StateError if neither is."""
    found: list[T] = []
    damaged: list[str] = []
    missing: list[str] = []
    for one in (name, name + COPY):
        with problems(disk, one, "give a directory that you may read"):
            try:
                text = disk.read(one, FILE_BYTES_MAX).decode(errors="replace")
            except FileNotFoundError:
                missing.append(f"{disk.place(one)} is missing")
                continue
        try:
            found.append(parse(text))
        except NewerReleaseError as error:
            raise StateError(f"state: {disk.place(one)} {error}; or {NEW_IDENTITY}") from None
        except ValueError as error:
            damaged.append(f"{disk.place(one)} {error}")
    if damaged and not found:
        lost = ", so what its identity used is lost" if name == NUMBERS else ""
        raise StateError(f"state: {damaged[0]}{lost}; {NEW_IDENTITY}")
    if found:
        findings += [f"{problem}; its copy is whole" for problem in damaged + missing]
    return found


def read_identity(text: str) -> SigningIdentity:
    """The identity in this text. Raises ValueError saying what is wrong, never what the secret is."""
    try:
        return SigningIdentity.parse(text)
    except KeyFileError as error:
        raise ValueError(f"is damaged: {error}") from None


@contextlib.contextmanager
def problems(
    disk: Disk, name: str, remedy: str = "make room, or give a directory that you may write to"
) -> Iterator[None]:
    """What the machine refuses, as a StateError."""
    try:
        yield
    except OSError as error:
        place = disk.place(name)
        raise StateError(f"state: {place} cannot be used: {error.strerror or error}; {remedy}") from error
