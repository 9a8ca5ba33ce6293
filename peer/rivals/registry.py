"""All of them, by name, in the order of the table."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from peer.rivals.alone import FineTuned, Local
from peer.rivals.groups import Clustered, FedEM
from peer.rivals.layers import FedALA, PersonalHead
from peer.rivals.own_copy import APFL, Ditto
from peer.rivals.shared import FedProx, PushSumSGP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.rivals.method import Method

RIVALS: Mapping[str, type[Method]] = MappingProxyType(
    {
        one.name: one
        for one in (
            Local,
            PushSumSGP,
            FedProx,
            FineTuned,
            Clustered,
            FedEM,
            APFL,
            Ditto,
            PersonalHead,
            FedALA,
        )
    }
)
SETTINGS = len(Local.grid)  # of each method that are tried, and the most that any method may have
