"""What an agent takes part in."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """See the table in `peer.agent`."""

    LISTENING = "listening"
    WARMING_UP = "warming up"
    RUNNING = "running"
