"""Several personalizations at once: which go together, and in which order they are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from peer.errors import SettingError
from peer.personalization.contract import Personalization
from peer.personalization.none import NoPersonalization

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.personalization.contract import Ground

OWN_COPIES = ("interpolation", "proximal")
_INCOMPLETE = "{other} has an own copy of a complete shared model, and {name} takes some of that out"
_REDUNDANT = "the own copy of {other} has personal values of all that {name} would make personal"
REFUSED = {
    ("bias", "logits"): "{other} has a bias already",
    OWN_COPIES: "each has an own copy of the model, and only one can predict",
    **{(name, own): _INCOMPLETE for name in ("head", "own") for own in OWN_COPIES},
    **{(name, own): _REDUNDANT for name in ("features", "lora") for own in OWN_COPIES},
}


class Combination(Personalization):
    """All of two or more; made by `combine` or `+`."""

    def __init__(self, chosen: Sequence[Personalization]) -> None:
        self._chosen = tuple(chosen)
        self.name = "+".join(str(one) for one in chosen)

    @property
    def chosen(self) -> tuple[Personalization, ...]:
        """Sorted by name."""
        return self._chosen

    def bind(self, ground: Ground) -> NoReturn:
        """Never called: those that are chosen are bound."""
        raise AssertionError(ground)


def combine(several: Sequence[Personalization]) -> Personalization:
    """The sum of these, the same in whatever order they are given.

    Raises `SettingError` naming two that do not go together, and why.
    """
    chosen = sorted((one for some in several for one in some.chosen), key=lambda one: one.name)
    text = "+".join(str(one) for one in several)
    names = [one.name for one in chosen]
    for name in names:
        if names.count(name) > 1:
            raise SettingError("personalization", text, f"give {name} once")
    for (name, other), why in REFUSED.items():
        if name in names and other in names:
            told = why.format(name=name, other=other)
            raise SettingError("personalization", text, f"give {name} or {other}, not both: {told}")
    if not chosen:
        return NoPersonalization()
    return chosen[0] if len(chosen) == 1 else Combination(chosen)
