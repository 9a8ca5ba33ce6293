"""What the words for colours mean, in light and in dark.

Of runs, Okabe and Ito's colours, which are told apart by everybody; in dark lighter ones of the same kinds.
"""

from __future__ import annotations

from typing import Any, Final

RUN_COLOURS: Final = 8

_LIGHT_RUNS: Final = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#B8860B", "#3A9BD9", "#7A5230", "#555555")
_DARK_RUNS: Final = ("#5BB8F0", "#FF9D4D", "#3CCB9A", "#E59BD0", "#F0D060", "#9AD4FF", "#C9A27C", "#BBBBBB")


def _pale(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _palette(runs: tuple[str, ...], opacity: float, **more: object) -> dict[str, Any]:
    found: dict[str, Any] = {f"run{index}": colour for index, colour in enumerate(runs)}
    found |= {f"band{index}": _pale(colour, opacity) for index, colour in enumerate(runs)}
    return found | more


LIGHT: Final = _palette(
    _LIGHT_RUNS,
    0.13,
    ink="#1d2330",
    muted="#5c6577",
    grid="#dfe3ea",
    paper="#ffffff",
    faint="rgba(92,101,119,0.45)",
    good="#00795a",
    accent="#c05300",
    bad="#b3261e",
    loss=[[0, "#eef3f9"], [0.25, "#f6d9a8"], [0.5, "#ee9b52"], [1, "#a3150f"]],
    spread=[[0, "#0b5d9b"], [0.5, "#f4f4f2"], [1, "#c0500a"]],
)
DARK: Final = _palette(
    _DARK_RUNS,
    0.17,
    ink="#e6e9f0",
    muted="#a3adbf",
    grid="#343c4b",
    paper="#171c26",
    faint="rgba(163,173,191,0.45)",
    good="#4fd3a5",
    accent="#ff9d4d",
    bad="#ff7b70",
    loss=[[0, "#222b3a"], [0.25, "#6b4a1f"], [0.5, "#c9762b"], [1, "#d2483f"]],
    spread=[[0, "#2a80bb"], [0.5, "#262c38"], [1, "#c4651c"]],
)
