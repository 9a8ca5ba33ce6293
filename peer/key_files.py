"""Files that the user names: the keys of a swarm, the identities that are let in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from peer.errors import SettingError
from wire.errors import KeyFileError
from wire.keys import KeyRing, parse_allow_list

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE_BYTES_MAX: Final = 2**20  # many times the longest list

_Content = TypeVar("_Content")


def read_key_ring(path: Path, option: str = "key") -> KeyRing:
    """The swarm keys in this file. Raises SettingError for `option` naming it, never its content."""
    return _read(option, path, KeyRing.parse)


def read_allow_list(path: Path) -> frozenset[str]:
    """The fingerprints in this file. Raises SettingError naming it."""
    return _read("allow", path, parse_allow_list)


def _read(option: str, path: Path, parse: Callable[[str], _Content]) -> _Content:
    made_by = "" if option == "allow" else " (`hyperpush keys new-swarm` prints a new one)"
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX).decode(errors="replace")
        return parse(text)
    except OSError as error:
        raise SettingError(
            option, str(path), f"it cannot be read: {error.strerror}; give a file that is there{made_by}"
        ) from None
    except KeyFileError as error:
        raise SettingError(option, str(path), str(error)) from None
