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


class StateFiles:
    """Both files and their copies. `findings` tells people what was wrong and has been mended.

    The methods block for as long as the disk takes; when one raises StateError, the number that it was to
    keep must not be used.
    """

    def __init__(self, disk: Disk, new_secret: Callable[[], bytes]) -> None:
        """Read them, or make them if there are none. Raises StateError for what cannot be trusted."""
        self._disk = disk
        self.findings: list[str] = []
        self.identity, self.numbers = self._load(new_secret)

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

    def _load(self, new_secret: Callable[[], bytes]) -> tuple[SigningIdentity, Numbers]:
        """What the files hold; what was not there, or damaged, is whole afterwards."""
        identities = self._read_both(IDENTITY, read_identity)
        found = self._read_both(NUMBERS, Numbers.parse)
        if not identities:
            identity = SigningIdentity(new_secret())
            numbers = Numbers(identity.fingerprint, replay=found[0].replay if found else {})
            self._write(numbers)
            self._put_both(IDENTITY, identity.to_text())
            return identity, numbers
        owners = {one.fingerprint for one in found}
        identity = next((one for one in identities if one.fingerprint in owners), identities[0])
        where = self._disk.place(NUMBERS)
        if not found:
            raise StateError(
                f"state: {where} is missing, so what the identity beside it used is lost; {NEW_IDENTITY}"
            )
        own = [one for one in found if one.fingerprint == identity.fingerprint]
        if not own:
            raise StateError(
                f"state: {where} belongs to {found[0].fingerprint}, {IDENTITY} beside it to "
                f"{identity.fingerprint}; {NEW_IDENTITY}"
            )
        numbers = replace(
            own[0],
            incarnation=max(one.incarnation for one in own),
            epoch=max(one.epoch for one in own),
        )
        if identities[0] is not identity:
            self.findings.append(f"{self._disk.place(IDENTITY)} is damaged; its copy is whole and was used")
        if {one.fingerprint for one in identities} != {identity.fingerprint} or len(identities) < 2:
            self._put_both(IDENTITY, identity.to_text())
        if {(one.incarnation, one.epoch) for one in own} != {(numbers.incarnation, numbers.epoch)} or len(
            own
        ) < 2:
            self._write(numbers)
        return identity, numbers

    def _read_both(self, name: str, parse: Callable[[str], T]) -> list[T]:
        """What a file and its copy hold, as far as they are whole. Raises StateError if neither is."""
        found: list[T] = []
        damaged: list[str] = []
        for one in (name, name + COPY):
            with problems(self._disk, one, "give a directory that you may read"):
                try:
                    text = self._disk.read(one, FILE_BYTES_MAX).decode(errors="replace")
                except FileNotFoundError:
                    continue
            try:
                found.append(parse(text))
            except NewerReleaseError as error:
                raise StateError(f"state: {self._disk.place(one)} {error}; or {NEW_IDENTITY}") from None
            except ValueError as error:
                damaged.append(f"{self._disk.place(one)} {error}")
        if damaged and not found:
            lost = ", so what its identity used is lost" if name == NUMBERS else ""
            raise StateError(f"state: {damaged[0]}{lost}; {NEW_IDENTITY}")
        self.findings += [f"{problem}; its copy is whole and was used" for problem in damaged]
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
