"""Whatever tensors the user names, as an agent's own."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from peer.errors import ProblemError, SettingError
from peer.personalization.contract import Personalization
from peer.personalization.leaving import Leaving

if TYPE_CHECKING:
    from peer.personalization.contract import Adapter, Ground

SHOWN_MAX = 6  # names in an error
PATTERN_MAX = 200  # characters


class OwnTensors(Personalization):
    """Learned tensors whose names match a pattern of a shell leave the shared model.

    `own:*.bias` are all biases, `own:encoder.3.*` a layer, `own:*lora_*` the adapters of a model that has
    some. They become local variables `own.NAME`, which minimise the training loss together with what is
    shared, and are pulled to their initial values by `own.strength` (`peer.personalization.strength`). There
    is no complete shared model then.
    """

    name = "own"
    precedence = 1

    def __init__(self, pattern: str) -> None:
        if (
            not pattern
            or len(pattern) > PATTERN_MAX
            or any(sign.isspace() or sign == "+" for sign in pattern)
        ):
            remedy = "give own:PATTERN, such as own:*.bias, without spaces and +"
            raise SettingError("personalization", f"own:{pattern[:PATTERN_MAX]}", remedy)
        self._pattern = pattern

    def bind(self, ground: Ground) -> Adapter:
        """The initial values. Raises `ProblemError` if none would be taken, or none be left to share."""
        shared = [name for names in ground.tensors(_any).values() for name in names]
        taken = [name for name in shared if fnmatch.fnmatchcase(name, self._pattern)]
        if not taken:
            told = ", ".join(shared[:SHOWN_MAX]) + (" ..." if len(shared) > SHOWN_MAX else "")
            wider = any(fnmatch.fnmatchcase(name, f"*{self._pattern}") for name in shared)
            hint = f"; did you mean {self.name}:*{self._pattern}?" if wider else ""
            raise ProblemError(f"{self} matches no shared tensor; there are {told}{hint}")
        if len(taken) == len(shared):
            raise ProblemError(f"{self} leaves nothing to share; give a pattern that fewer tensors match")
        return Leaving(self.name, ground, taken)

    def __str__(self) -> str:
        return f"{self.name}:{self._pattern}"


def _any(_: object) -> bool:
    return True
