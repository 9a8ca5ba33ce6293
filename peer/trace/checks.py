"""What the values of a trace can be: whoever wrote it, its checksums are right for any.

Pure: what is wrong is returned, in words. What is missing is for whoever needs it to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from peer.errors import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEPTH_MAX: Final = 8  # of lists and maps in each other; those of this release have six
AGENTS_MAX: Final = 1024  # twice as many as one can know: all of their problems are made
WHOLE_MAX: Final = 2**63 - 1
THREADS_MAX: Final = 2**16
NOW_S_MAX: Final = 5e10  # by any clock: 1,600 years
WALL_S: Final = (-1e10, 2e11)  # when a clock read 0; with NOW_S_MAX still in years of four digits


@dataclass(frozen=True, slots=True)
class Rule:
    """Which values are possible, and how they are called."""

    holds: Callable[[Any], bool]
    told: str


def _whole(low: int, high: int) -> Rule:
    return Rule(lambda value: type(value) is int and low <= value <= high, f"a whole number {low} to {high}")


def _number(low: float, high: float) -> Rule:
    def holds(value: object) -> bool:
        return type(value) in (int, float) and low <= value <= high  # type: ignore[operator]

    return Rule(holds, f"a number {low:g} to {high:g}")


TEXT: Final = Rule(lambda value: isinstance(value, str), "text")
FLAG: Final = Rule(lambda value: isinstance(value, bool), "true or false")
COUNT: Final = _whole(0, WHOLE_MAX)
WHOLES: Final = Rule(
    lambda value: isinstance(value, list) and all(map(COUNT.holds, value)), "a list of whole numbers"
)
NOW: Final = _number(-NOW_S_MAX, NOW_S_MAX)
_WALL: Final = _number(*WALL_S)

BEGINNING: Final[Mapping[str, Rule]] = {
    "first": COUNT,
    "threads": _whole(1, THREADS_MAX),
    "deterministic": _whole(0, 2),
    "wall_s": Rule(lambda value: value is None or _WALL.holds(value), f"nothing or {_WALL.told}"),
}
ORIGIN: Final[Mapping[str, Rule]] = {
    "kind": TEXT,
    "task": TEXT,
    "fingerprint": TEXT,
    "personalization": TEXT,
    "agents": _whole(1, AGENTS_MAX),
    "shard": _whole(0, AGENTS_MAX - 1),
    "seed": COUNT,
    "without": WHOLES,
    "data": Rule(lambda value: isinstance(value, dict), "a map"),
}
MADE: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("peer", "swarm", "task", "address"), TEXT),
    **dict.fromkeys(("seed", "incarnation", "epoch_floor"), COUNT),
    "founder": FLAG,
    "now": NOW,
    "settings": Rule(lambda value: isinstance(value, dict), "a map"),
}
OUTCOME: Final[Mapping[str, Rule]] = {
    "raised": TEXT,
    **dict.fromkeys(
        ("effects", "events"),
        Rule(lambda value: isinstance(value, list) and all(map(_is_output, value)), "a list of outputs"),
    ),
    "result": Rule(lambda value: isinstance(value, dict), "a map"),
}


def is_plain(value: object, depth: int = DEPTH_MAX, *, bytes_too: bool = True) -> bool:
    """Whether it is made of numbers, texts, lists and maps with texts as keys, not too deep in each other."""
    match value:
        case None | bool() | int() | float() | str():
            return True
        case bytes():
            return bytes_too
        case list() if depth:
            return all(is_plain(one, depth - 1, bytes_too=bytes_too) for one in value)
        case dict() if depth:
            return all(
                isinstance(name, str) and is_plain(one, depth - 1, bytes_too=bytes_too)
                for name, one in value.items()
            )
    return False


def wrong_in_beginning(beginning: Mapping[str, Any]) -> str | None:
    """What is not as in any trace: which field, its value, and what it has to be. None if nothing is.

    It has an origin and says what was made.
    """
    origin, made = beginning["origin"], beginning["made"]
    parts = (("", beginning, BEGINNING), ("origin.", origin, ORIGIN), ("made.", made, MADE))
    for where, values, rules in parts:
        for name, rule in rules.items():
            if name in values and not rule.holds(values[name]):
                return f"{where}{name} is {_brief(values[name])}, it has to be {rule.told}"
    if origin.get("shard", 0) >= origin.get("agents", AGENTS_MAX):
        return f"origin.shard is {origin['shard']}, it has to be less than origin.agents, {origin['agents']}"
    odd = [name for name, value in beginning.items() if not is_plain([name, value], bytes_too=False)]
    return f"{_brief(odd[0])} is {_brief(beginning[odd[0]])}, which no trace has" if odd else None


def is_possible(number: int, now: float, arguments: list[Any], outcome: Mapping[str, Any]) -> bool:
    """Whether an input of these can be in a trace."""
    return (
        COUNT.holds(number)
        and NOW.holds(now)
        and is_plain(arguments)
        and is_plain(outcome)
        and all(name in OUTCOME and OUTCOME[name].holds(value) for name, value in outcome.items())
    )


def _is_output(value: object) -> bool:
    """An effect or event: its name, and its fields by name."""
    match value:
        case [str(), dict()]:
            return True
    return False


def _brief(value: object) -> str:
    told = shown(value)
    return told if len(told) <= 60 else f"{told[:57]}..."
