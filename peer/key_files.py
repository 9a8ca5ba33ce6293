"""Files that the user names: the keys of a swarm, the identities that are let in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from peer.errors import SettingError
from wire.addresses import is_loopback
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


def keys_for(
    host: str, listen: str, key: Path | None, allow: Path | None, *, insecure: bool
) -> KeyRing | None:
    """The keys of a swarm, for an agent that listens on this host, which the user has given as `listen`.

    Raises `SettingError` without them where strangers could take part, or where identities are to be proven.
    """
    if key is not None:
        return read_key_ring(key)
    if allow is not None:
        remedy = "identities are proven with keys only: give --key FILE as well"
        raise SettingError("allow", str(allow), remedy)
    if not is_loopback(host) and not insecure:
        remedy = (
            "whoever reaches this port could take part: give --key FILE (hyperpush keys new-swarm > FILE "
            "makes one), or --listen 127.0.0.1:0 to keep to this machine, or --insecure on a trusted network"
        )
        raise SettingError("listen", listen, remedy)
    return None


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
