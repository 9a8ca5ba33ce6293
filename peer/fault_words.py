"""Faults in the words of users: flags, scenario files, the admin interface; and how they are shown.

word        key of LinkFaults      value
drop        drop                   0.3
delay       delay_s                "20ms", "lognormal:50ms:0.5"
duplicate   duplicate              0.1
reorder     reorder                0.1
bandwidth   bandwidth_bits_per_s   "256kbit", "unlimited"
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from peer.errors import SettingError, shown
from wire import Constant, FaultChange, FaultPlanError, LinkFaults, parse_duration
from wire.bandwidth import BANDWIDTH_FORMS, bandwidth_text
from wire.delays import DELAY_FORMS, DELAY_S_MAX, DURATION_FORMS
from wire.link_faults import FAULT_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wire import Delay, FaultPlan, FaultWindow, PeerId

WORDS: Final = {
    "drop": "drop",
    "delay": "delay_s",
    "duplicate": "duplicate",
    "reorder": "reorder",
    "bandwidth": "bandwidth_bits_per_s",
}
UNLIMITED: Final = "unlimited"
DURATION_S_MIN: Final = 1e-3  # less would be lost in the rounding of when it ends
SHOWN_MAX: Final = 80  # characters of a bad value in the error about it

_SHARE: Final = "give a number from 0 to 1: 0.3 is 30 %"
_REMEDIES: Final = {
    "drop": _SHARE,
    "duplicate": _SHARE,
    "reorder": _SHARE,
    "delay_s": DELAY_FORMS,
    "reorder_window_s": "give seconds",
    "bandwidth_bits_per_s": f"{BANDWIDTH_FORMS}, or {UNLIMITED}",
}


def brief(value: object) -> object:
    """`value`, or the beginning of its text if that is long."""
    text = shown(value)
    return value if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."


def read_change(
    values: Mapping[str, object], keys: Mapping[str, str], field: Callable[[str], str]
) -> FaultChange:
    """What `values` change; `keys` maps the names that may be used to those of LinkFaults.

    Raises `SettingError` for the first value that is not possible, with `field(name)` as its field.
    """
    plain: dict[str, object] = {}
    for name, value in values.items():
        if name not in keys:
            raise SettingError(field(name), brief(value), f"there are only {', '.join(keys)}")
        key = keys[name]
        plain[key] = None if (key, value) == ("bandwidth_bits_per_s", UNLIMITED) else value
        try:
            FaultChange.from_dict({key: plain[key]})
        except ValueError:  # FaultPlanError, or a number so long that Python does not write it
            raise SettingError(field(name), brief(value), _REMEDIES[key]) from None
    return FaultChange.from_dict(plain)


def read_duration(value: object, field: str) -> float:
    """Seconds above 0: a number of them, or text such as "30s". Raises `SettingError`."""
    seconds = read_time(value, field)
    if seconds < DURATION_S_MIN:
        raise SettingError(field, value, f"{DURATION_FORMS}, at least {DURATION_S_MIN:g} s")
    return seconds


def read_time(value: object, field: str) -> float:
    """Seconds, 0 or more, as `read_duration` reads them."""
    seconds = value
    if isinstance(value, str):
        try:
            seconds = parse_duration(value)
        except FaultPlanError:
            seconds = None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= DELAY_S_MAX:
        raise SettingError(field, brief(value), DURATION_FORMS)
    return float(seconds)


def describe(faults: LinkFaults | FaultChange | None) -> str:
    """In a few words, what differs from a perfect link; of a change, what it changes."""
    if faults is None:
        return "cut"
    change = isinstance(faults, FaultChange)
    words = [
        f"{word} {share:.6g}"
        for word, share in (
            ("drop", faults.drop),
            ("duplicate", faults.duplicate),
            ("reorder", faults.reorder),
        )
        if share is not None and (change or share > 0)
    ]
    if faults.delay_s is not None and (change or faults.delay_s not in (0.0, Constant(0.0))):
        words.append(f"delay {_delay_text(faults.delay_s)}")
    limit = faults.bandwidth_bits_per_s
    if limit is not None:
        words.append(f"bandwidth {UNLIMITED if limit == math.inf else bandwidth_text(limit)}")
    return ", ".join(words) or "no faults"


def set_on_links(
    source: PeerId | None, to: PeerId | None, faults: FaultChange | None, duration_s: float | None
) -> str:
    """What somebody has set on the links from `source` (None: from all) to `to`, likewise; for people."""
    lasting = "" if duration_s is None else f" for {duration_s:g} s"
    return f"{_those_links(source, to)}: {describe(faults)}{lasting}"


def cleared_on_links(source: PeerId | None, to: PeerId | None) -> str:
    """That somebody has taken back what was set on them."""
    return f"{_those_links(source, to)}: what was set is taken back"


def _those_links(source: PeerId | None, to: PeerId | None) -> str:
    words = [*(["from", source] if source else []), *(["to", to] if to else [])]
    return " ".join(["links", *words]) if words else "all links"


def _delay_text(delay: float | Delay) -> str:
    return str(Constant(delay)) if isinstance(delay, int | float) else str(delay)


def plan_lines(plan: FaultPlan, live: Sequence[FaultWindow], elapsed_s: float) -> list[str]:
    """What the plan of an agent and the changes made while it runs do, now and later; one line each."""
    base = LinkFaults(*(getattr(plan, key) for key in FAULT_KEYS))
    lines = [f"all links: {describe(base)}{'' if plan.model is None else f', then {plan.model}'}"]
    lines += [f"{source} -> {target}: {describe(faults)}" for (source, target), faults in plan.links.items()]
    for windows, remark in ((plan.windows, ""), (live, " (set while it runs)")):
        for window in windows:
            if elapsed_s < window.end_s:
                lines.append(
                    f"{_when(window, elapsed_s)}, {_where(window)}: {describe(window.faults)}{remark}"
                )
    return lines


def _when(window: FaultWindow, elapsed_s: float) -> str:
    begins = "now" if window.start_s <= elapsed_s else f"from {window.start_s:g} s"
    return begins if window.end_s == math.inf else f"{begins} until {window.end_s:g} s"


def _where(window: FaultWindow) -> str:
    if window.sources is None and window.targets is None:
        return "all links"
    sides = ("all" if side is None else " ".join(side) for side in (window.sources, window.targets))
    return " -> ".join(sides)
