"""Discoveries and transports of other packages, as makers that a running agent calls."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from peer.extensions.installed import make
from wire import WebSocketTransport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wire.discovery import MakeDiscovery
    from wire.transport import MakeTransport


def transport_of(text: str | None) -> MakeTransport:
    """Links of this name; None: websockets. What is wrong with it is raised when it is made."""
    if text is None:
        return WebSocketTransport
    return cast("MakeTransport", partial(_made, "transport", text))


def discoveries_of(texts: Iterable[str]) -> list[MakeDiscovery]:
    """Ways of these names, likewise."""
    return [cast("MakeDiscovery", partial(_made, "discovery", text)) for text in texts]


def _made(where: str, text: str, *arguments: Any, **options: Any) -> Any:
    """Readers of options have seen that there is one."""
    part = make(where, text, *arguments, **options)
    assert part is not None
    return part
