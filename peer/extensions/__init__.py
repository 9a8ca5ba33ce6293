"""Parts of a swarm that other packages bring: where they go in, and how they are found.

`points` says which parts can be replaced, `installed` finds those that are there, `peer.conformance` holds
them to what is asked of them. `README.md` in this folder shows one of each.
"""

from __future__ import annotations

from peer.extensions.installed import Installed, find, installed, make, names, register
from peer.extensions.points import POINTS, Point, point

__all__ = ["POINTS", "Installed", "Point", "find", "installed", "make", "names", "point", "register"]
