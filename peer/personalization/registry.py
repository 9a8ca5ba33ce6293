"""Personalizations by name, as on the command line: `mixture:3+class-weights`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from peer.errors import SettingError
from peer.extensions import make, names
from peer.personalization.bias import OutputBias
from peer.personalization.class_weights import ClassWeights
from peer.personalization.combination import combine
from peer.personalization.features import Features
from peer.personalization.head import Head
from peer.personalization.interpolation import Interpolation
from peer.personalization.logits import Logits
from peer.personalization.lora import LowRank
from peer.personalization.mixture import Mixture
from peer.personalization.none import NoPersonalization
from peer.personalization.own import OwnTensors
from peer.personalization.proximal import Proximal
from peer.personalization.regularization import Regularization
from peer.personalization.sample_weights import SampleWeights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from peer.personalization.contract import Personalization

DIGITS_MAX = 6  # of a number in a name: more is no count of anything here


class Numbered(NamedTuple):
    """A personalization with a number in its name, such as `mixture:3`."""

    make: Callable[[int], Personalization]
    letter: str
    default: int | None = None


class Named(NamedTuple):
    """A personalization with a text in its name, such as `own:*.bias`."""

    make: Callable[[str], Personalization]
    word: str


Entry = Numbered | Named


PERSONALIZATIONS: Mapping[str, Callable[[], Personalization] | Entry] = {
    "none": NoPersonalization,
    "bias": OutputBias,
    "logits": Logits,
    "class-weights": ClassWeights,
    "sample-weights": SampleWeights,
    "regularization": Regularization,
    "mixture": Numbered(Mixture, "K"),
    "head": Numbered(Head, "L", 1),
    "own": Named(OwnTensors, "PATTERN"),
    "features": Features,
    "lora": Numbered(LowRank, "R"),
    "interpolation": Interpolation,
    "proximal": Proximal,
}
"""By name: what makes one, or how its number or text is read."""


def known_names() -> list[str]:
    """As people may give them; those of other packages (`peer.extensions`) come last."""
    own = [
        _written(name, entry) if isinstance(entry, Entry) else name
        for name, entry in PERSONALIZATIONS.items()
    ]
    return own + names("personalization")


def made(given: Personalization | str | None) -> Personalization:
    """What somebody gives where a personalization is wanted: one, its name, or nothing at all.

    Raises `SettingError` as `personalization` does.
    """
    if isinstance(given, str):
        return personalization(given)
    return NoPersonalization() if given is None else given


def personalization(text: str) -> Personalization:
    """The personalization of this name, or the sum of those with `+` between them, in any order.

    Other packages bring more (`peer.extensions`); a name of ours is always ours. Raises `SettingError` for an
    unknown name, listing the known ones; for a number that is missing or not possible; and for two that do
    not go together.

    >>> from peer.personalization import Logits, LowRank, personalization
    >>> str(personalization("lora:4+logits")), str(LowRank(4) + Logits())
    ('logits+lora:4', 'logits+lora:4')
    >>> personalization("lora")
    Traceback (most recent call last):
        ...
    peer.errors.SettingError: personalization: 'lora' is not possible; give lora:R with a whole number R
    """
    words = text.split("+")
    if len(words) > 1 and "none" in words:
        raise SettingError("personalization", text, "give none alone: it is that nothing is personal")
    several = [_one(word) for word in words]
    return several[0] if len(several) == 1 else combine(several)


def _one(word: str) -> Personalization:
    name, colon, number = word.partition(":")
    entry = PERSONALIZATIONS.get(name)
    if entry is None:
        brought: Personalization | None = make("personalization", word)
        if brought is not None:
            return brought
        remedy = f"give one of {', '.join(known_names())}, or several with + between them"
        raise SettingError("personalization", word, remedy)
    if isinstance(entry, Named):
        return entry.make(number)
    if not isinstance(entry, Numbered):
        if colon:
            raise SettingError("personalization", word, f"{name} takes no number; give {name}")
        return entry()
    if not colon and entry.default is not None:
        return entry.make(entry.default)
    if not (number.isascii() and number.isdecimal() and len(number) <= DIGITS_MAX):
        remedy = f"give {_written(name, entry)} with a whole number {entry.letter}"
        raise SettingError("personalization", word, remedy)
    return entry.make(int(number))


def _written(name: str, entry: Entry) -> str:
    if isinstance(entry, Named):
        return f"{name}:{entry.word}"
    return f"{name}:{entry.letter}" if entry.default is None else f"{name}[:{entry.letter}]"
