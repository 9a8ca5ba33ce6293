"""Nothing personal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from peer.personalization.contract import Personalization

if TYPE_CHECKING:
    from peer.personalization.contract import Ground


class NoPersonalization(Personalization):
    """Everybody uses the shared model as it is."""

    name = "none"

    @property
    def chosen(self) -> tuple[Personalization, ...]:
        """Nothing."""
        return ()

    def bind(self, ground: Ground) -> NoReturn:
        """Never called: nothing is chosen."""
        raise AssertionError(ground)
