"""The hunt for faults of the protocol: random worlds under a virtual clock, watched by checkers.

    world       what a seed draws: agents, settings, troubles
    trial       one world from beginning to end; a fault of ours is a Violation
    wiretap     messages recorded and sent again, altered or as they were, and what is promised then
    checkers    one property each
    shrink      the fewest troubles that still show a violation
    campaign    many seeds in several processes

Arithmetic is in whole numbers (`fixed_point`), so that mass is checked with `==` and every machine computes
the same digest.
"""
