"""What `--partition` says: how the samples of one data set are shared out among agents.

    iid               at random
    dirichlet:ALPHA   every label in shares drawn from a symmetric Dirichlet distribution: the split of Marfoq
                      et al. (FedEM, 2021), there with ALPHA 0.4; small: few labels per agent
    shards:S          sorted by label and cut; S pieces for every agent (McMahan et al. 2017: "pathological")
    column:NAME       by a column of the data: all of a writer, a device, ... at one agent
    rotated:G         agents in G groups; those of group g see their images turned by g quarter turns
    permuted:G        agents in G groups, of which all but the first have their labels permuted

Other packages bring more ways to split (`peer.extensions`), NAME or NAME:TEXT. `rotated` and `permuted` are
joined to one of the others with `+`, as in `dirichlet:0.4+permuted:3`; alone they mean iid.
Agent i is in group i mod G.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NoReturn

from peer.errors import SettingError
from peer.extensions import make
from peer.extensions import names as installed_names

EXAMPLES: Final = "one of iid, dirichlet:ALPHA, shards:S, column:NAME, rotated:G, permuted:G"
SPLITS: Final = ("iid", "dirichlet", "shards", "column")  # of ours
ALPHA_MIN, ALPHA_MAX = 1e-3, 1e6  # outside, draws are degenerate in floats, or iid
SHARDS_MAX: Final = 1000
TURNS_MAX: Final = 4  # quarter turns, so that no pixel is made up
GROUPS_MAX: Final = 64
NAME_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Scheme:
    """A partition that was asked for. `str` gives it in the one way of writing it."""

    split: str = "iid"
    parameter: float | int | str | None = None  # ALPHA, S, NAME or TEXT
    transform: str | None = None  # rotated, permuted
    groups: int = 1

    def __str__(self) -> str:
        told = self.split if self.parameter is None else f"{self.split}:{_told(self.parameter)}"
        if self.transform is None:
            return told
        groups = f"{self.transform}:{self.groups}"
        return groups if self.split == "iid" else f"{told}+{groups}"


def parse_scheme(text: str) -> Scheme:
    """The partition of this text. Raises `SettingError` naming what is possible.

    >>> from peer.data.scheme import parse_scheme
    >>> str(parse_scheme("permuted:3+dirichlet:0.4"))
    'dirichlet:0.4+permuted:3'
    """
    parts = text.split("+")
    names = [part.partition(":")[0] for part in parts]
    kinds = [name in ("rotated", "permuted") for name in names]
    if len(parts) > 2 or kinds.count(True) > 1 or kinds.count(False) > 1:
        _refuse(text, "give one way to split and one of rotated, permuted, as in dirichlet:0.4+rotated:4")
    split: tuple[str, float | int | str | None] = ("iid", None)
    transform: tuple[str | None, int] = (None, 1)
    for part in parts:
        name, colon, given = part.partition(":")
        if name in ("rotated", "permuted"):
            most = TURNS_MAX if name == "rotated" else GROUPS_MAX
            transform = (name, _whole(text, part, given, 2, most))
        elif name == "dirichlet":
            split = (name, _alpha(text, part, given))
        elif name == "shards":
            split = (name, _whole(text, part, given, 1, SHARDS_MAX))
        elif name == "column" and 0 < len(given) <= NAME_MAX and given.isprintable():
            split = (name, given)
        elif name == "iid" and not colon:
            continue
        elif name not in SPLITS and make("partition", part) is not None:
            split = (name, given if colon else None)
        else:
            _refuse(text, f"give {', '.join([EXAMPLES, *installed_names('partition')])}")
    return Scheme(*split, *transform)


def _alpha(text: str, part: str, given: str) -> float:
    try:
        alpha = float(given)
    except ValueError:
        alpha = math.nan
    if not ALPHA_MIN <= alpha <= ALPHA_MAX:
        _refuse(text, f"{part!r} needs a number from {ALPHA_MIN:g} to {ALPHA_MAX:g}, as in dirichlet:0.4")
    return alpha


def _whole(text: str, part: str, given: str, least: int, most: int) -> int:
    found = int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 0
    if not least <= found <= most:
        name = part.partition(":")[0]
        _refuse(text, f"{part!r} needs a whole number from {least} to {most}, as in {name}:{max(least, 2)}")
    return found


def _told(parameter: float | str) -> str:
    return repr(parameter) if isinstance(parameter, float) else str(parameter)


def _refuse(text: str, remedy: str) -> NoReturn:
    raise SettingError("partition", text, remedy)
