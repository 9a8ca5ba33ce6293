"""Personalizations whose parts are watched while losses are computed: what they draw and change."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from peer.conformance.common import nothing_changed
from peer.personalization.contract import Personalization

if TYPE_CHECKING:
    from collections.abc import Callable

    from peer.personalization.contract import Ground, Part

CALLED: Final = (
    *("meaning", "adapt", "penalty", "personal", "local_loss", "combine", "apply", "log_weights", "factors"),
)


class Watched(Personalization):
    """What another one is, but that its parts raise `AssertionError` while `watching`, if there is reason."""

    def __init__(self, watched: Personalization) -> None:
        self.watching = False
        self._watched = watched

    @property
    def chosen(self) -> tuple[Personalization, ...]:
        """Each watched."""
        return tuple(_One(one, self) for one in self._watched.chosen)

    def bind(self, ground: Ground) -> Part:
        """Of `chosen` only."""
        raise NotImplementedError

    def __str__(self) -> str:
        return str(self._watched)


class _One(Personalization):
    """One of the chosen."""

    def __init__(self, one: Personalization, owner: Watched) -> None:
        self._one, self._owner = one, owner
        self.name, self.precedence = one.name, one.precedence

    def bind(self, ground: Ground) -> Part:
        """With watched methods."""
        with nothing_changed("bind", ground.parameters, ground.outputs, ground.targets):
            part = self._one.bind(ground)
        for name in CALLED:
            if hasattr(part, name):
                setattr(part, name, self._watched_call(name, getattr(part, name)))
        return part

    def _watched_call(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def watching(*arguments: Any, **options: Any) -> Any:
            if not self._owner.watching:  # derivatives of tensors that are none yet, say
                return call(*arguments, **options)
            with nothing_changed(name, arguments, options):
                return call(*arguments, **options)

        return watching
