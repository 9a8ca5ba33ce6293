"""What reaches the admin listener, read: who may ask, and what is to be changed. Pure."""

from __future__ import annotations

import hmac
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.errors import SettingError
from peer.fault_words import brief, read_change, read_duration
from wire import PEER_ID_BYTES_MAX
from wire.link_faults import FAULT_KEYS
from wire.messages import name_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wire import FaultChange, PeerId

TOKEN_CHARACTERS: Final = (16, 256)  # so that guessing is hopeless; and a file of something else is noticed

JSON_TYPE: Final = "application/json"
NPY_TYPE: Final = "application/x-npy"  # an array as numpy.save writes it

_SAME_NAMES: Final = {key: key for key in FAULT_KEYS}
_WEIGHT: Final = re.compile(r"[01](\.[0-9]{0,3})?")
_KEYS: Final = ("to", "faults", "for_s")


@dataclass(frozen=True, slots=True)
class FaultRequest:
    """The links to `to` (None: all) shall do this (None: be cut) for so long (None: until cleared)."""

    to: PeerId | None
    faults: FaultChange | None
    duration_s: float | None
    source: PeerId | None = None  # whose links; None: of all agents that are asked


def read_fault_request(body: bytes, *, with_source: bool = False) -> FaultRequest:
    """The body of PUT /v1/faults: {"to": name or null, "faults": {...} or null, "for_s": seconds or null}.

    `with_source`: "from", too, where many agents are asked at once. Raises `SettingError`.
    """
    keys = ("from", *_KEYS) if with_source else _KEYS
    values = _object(body, keys, '{"faults": {"drop": 0.4}}')
    if "faults" not in values:
        raise SettingError("faults", None, "give an object such as {drop: 0.4}, or null to cut the links")
    faults, duration = values["faults"], values.get("for_s")
    if faults is not None and (not isinstance(faults, dict) or not faults):
        raise SettingError("faults", brief(faults), "give an object such as {drop: 0.4}, or null for a cut")
    return FaultRequest(
        read_peer(values.get("to")),
        None if faults is None else read_change(faults, _SAME_NAMES, lambda name: f"faults.{brief(name)}"),
        None if duration is None else read_duration(duration, "for_s"),
        read_peer(values.get("from"), "from"),
    )


def read_agent_action(body: bytes, *, takes_duration: bool) -> float | None:
    """The body of what is done to an agent: nothing, {}, or {"for_s": seconds}, which some have to have.

    Raises `SettingError`.
    """
    example = '{"for_s": 5}' if takes_duration else "{}"
    values = _object(body or b"{}", ("for_s",) if takes_duration else (), example)
    if not takes_duration:
        return None
    if "for_s" not in values:
        raise SettingError("for_s", None, f"say for how long: {example}")
    return read_duration(values["for_s"], "for_s")


def _object(body: bytes, keys: Sequence[str], example: str) -> dict[str, object]:
    """An object of JSON that has none but these keys. Raises `SettingError`."""
    try:
        values: object = json.loads(body)
    except (ValueError, RecursionError):
        raise SettingError("body", brief(body[:40]), f"give JSON such as {example}") from None
    if not isinstance(values, dict):
        raise SettingError("body", brief(values), f"give an object such as {example}")
    for key, value in values.items():
        if key not in keys:
            remedy = f"there are only {', '.join(keys)}" if keys else "leave it out"
            raise SettingError(str(brief(key)), brief(value), remedy)
    return values


def read_peer(value: object, field: str = "to") -> PeerId | None:
    """The name of a peer, None for all. Raises `SettingError`."""
    if value is None:
        return None
    problem = name_problem(value, PEER_ID_BYTES_MAX) if isinstance(value, str) else "must be text"
    if problem is not None or not isinstance(value, str):
        raise SettingError(field, brief(value), f"give the name of a peer, which {problem}; or none for all")
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


def media_type(header: str | None) -> str:
    """What a Content-Type header names, without its parameters; "" for none."""
    return (header or "").partition(";")[0].strip().lower()


def accepts(header: str | None, wanted: str, *, otherwise: str) -> bool:
    """Whether an Accept header asks for the type `wanted`, by its name, no less than for `otherwise`."""
    weights = {media_type(one): _weight(one) for one in (header or "").split(",")}
    return weights.get(wanted, 0.0) > 0.0 and weights[wanted] >= weights.get(otherwise, 0.0)


def _weight(accepted: str) -> float:
    """The q of one entry: 0 to 1; 0 for what makes no sense."""
    for parameter in accepted.split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "q":
            return min(float(value), 1.0) if _WEIGHT.fullmatch(value.strip()) else 0.0
    return 1.0
