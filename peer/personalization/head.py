"""Personal last layers on a shared body: FedPer (Arivazhagan et al., 2019), FedRep (Collins et al., 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.errors import ProblemError, SettingError
from peer.personalization.contract import Personalization
from peer.personalization.leaving import Leaving

if TYPE_CHECKING:
    from peer.personalization.contract import Adapter, Ground


class Head(Personalization):
    """The last `layers` layers with learned tensors, in the order of registration, leave the shared model.

    They become local variables `head.NAME`, which minimise the training loss together with the shared body
    and are pulled to their initial values by `head.strength` (`peer.personalization.strength`). There is no
    complete shared model then.
    """

    name = "head"
    precedence = 1

    def __init__(self, layers: int = 1) -> None:
        if layers < 1:
            raise SettingError("personalization", f"head:{layers}", "give head:L with 1 or more last layers")
        self._layers = layers

    def bind(self, ground: Ground) -> Adapter:
        """The initial head. Raises `ProblemError` if no layer would be left to share."""
        found = list(ground.tensors(lambda part: True).values())  # noqa: ARG005  (all layers)
        if len(found) <= self._layers:
            raise ProblemError(
                f"{self} leaves nothing to share: there are {len(found)} layers with learned tensors; "
                "give fewer to the head, or a module with more of them"
            )
        return Leaving(self.name, ground, [name for names in found[-self._layers :] for name in names])

    def __str__(self) -> str:
        return self.name if self._layers == 1 else f"{self.name}:{self._layers}"
