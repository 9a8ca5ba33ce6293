"""What reaches the admin listener, read: who may ask, and what is to be changed. Pure."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.errors import SettingError
from peer.fault_words import brief, read_change, read_duration
from wire import PEER_ID_BYTES_MAX
from wire.link_faults import FAULT_KEYS
from wire.messages import name_problem

if TYPE_CHECKING:
    from wire import FaultChange, PeerId

TOKEN_CHARACTERS: Final = (16, 256)  # so that guessing is hopeless; and a file of something else is noticed

_SAME_NAMES: Final = {key: key for key in FAULT_KEYS}
_KEYS: Final = ("to", "faults", "for_s")


@dataclass(frozen=True, slots=True)
class FaultRequest:
    """The links to `to` (None: all) shall do this (None: be cut) for so long (None: until cleared)."""

    to: PeerId | None
    faults: FaultChange | None
    duration_s: float | None


def read_fault_request(body: bytes) -> FaultRequest:
    """The body of PUT /v1/faults: {"to": name or null, "faults": {...} or null, "for_s": seconds or null}.

    Raises `SettingError`.
    """
    try:
        values: object = json.loads(body)
    except (ValueError, RecursionError):
        raise SettingError("body", brief(body[:40]), 'give JSON such as {"faults": {"drop": 0.4}}') from None
    if not isinstance(values, dict):
        raise SettingError("body", brief(values), 'give an object such as {"faults": {"drop": 0.4}}')
    for key, value in values.items():
        if key not in _KEYS:
            raise SettingError(str(brief(key)), brief(value), f"there are only {', '.join(_KEYS)}")
    if "faults" not in values:
        raise SettingError("faults", None, "give an object such as {drop: 0.4}, or null to cut the links")
    faults, duration = values["faults"], values.get("for_s")
    if faults is not None and (not isinstance(faults, dict) or not faults):
        raise SettingError("faults", brief(faults), "give an object such as {drop: 0.4}, or null for a cut")
    return FaultRequest(
        read_peer(values.get("to")),
        None if faults is None else read_change(faults, _SAME_NAMES, lambda name: f"faults.{brief(name)}"),
        None if duration is None else read_duration(duration, "for_s"),
    )


def read_peer(value: object) -> PeerId | None:
    """The name of a peer, None for all. Raises `SettingError`."""
    if value is None:
        return None
    problem = name_problem(value, PEER_ID_BYTES_MAX) if isinstance(value, str) else "must be text"
    if problem is not None or not isinstance(value, str):
        raise SettingError("to", brief(value), f"give the name of a peer, which {problem}; or none for all")
    return value


def check_token(text: str) -> str:
    """A token as it stands in a file, without the space around it. Raises `SettingError`, not showing it."""
    token = text.strip()
    least, most = TOKEN_CHARACTERS
    printable = token.isascii() and token.isprintable() and " " not in token
    if not printable or not least <= len(token) <= most:
        remedy = f"give {least} to {most} printable ASCII characters on one line: openssl rand -hex 32"
        raise SettingError("token", f"{len(token)} characters", remedy)
    return token


def bearer_matches(header: str | None, token: str) -> bool:
    """True if an Authorization header carries the token; takes as long for any wrong one."""
    scheme, _, shown = (header or "").partition(" ")
    same = hmac.compare_digest(shown.strip().encode("utf-8", "surrogatepass"), token.encode())
    return same and scheme.lower() == "bearer"
