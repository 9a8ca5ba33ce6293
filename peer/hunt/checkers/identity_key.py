"""No identity is accepted without its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.hunt.checkers.base import Checker

if TYPE_CHECKING:
    from peer.hunt.trial import Trial
    from wire import PeerId


class IdentityByKey(Checker):
    """Where messages are sealed, whatever opens was sealed by the one under whose name it comes."""

    name = "identity_key"

    def opened(self, trial: Trial, target: PeerId, sender: PeerId, author: PeerId) -> None:  # noqa: ARG002
        """An agent is about to be given a message."""
        if sender != author:
            self.fail(f"{target} takes for a message of {sender} what {author} has sealed")
