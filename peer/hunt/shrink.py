"""From a world that shows a violation to the fewest of its troubles that still show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.hunt.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable

    from peer.hunt.trial import Verdict
    from peer.hunt.world import World


def run(world: World) -> Verdict:
    """The verdict on one world."""
    return Trial(world).run()


def shrink(
    world: World, verdict: Verdict, judge: Callable[[World], Verdict] = run
) -> tuple[frozenset[int], Verdict]:
    """Troubles that can be left out together, so that none of the others can; and the verdict then.

    What is left violates the same property, maybe in another place. `judge` is called once for each trouble
    that is left out, and once more for each that has to stay.
    """
    left_out: frozenset[int] = frozenset()
    tried_since = 0
    index = 0
    count = len(world.troubles)
    while tried_since < count:
        if index not in left_out:
            fewer = left_out | {index}
            found = judge(world.without(fewer))
            if found.checker == verdict.checker:
                left_out, verdict, tried_since = fewer, found, 0
        tried_since += 1
        index = (index + 1) % count
    return left_out, verdict
