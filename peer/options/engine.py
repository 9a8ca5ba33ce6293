"""Options of the commands whose work may be done elsewhere: in other processes, or in a Ray cluster."""

from __future__ import annotations

from typing import Final

from peer.options import readers
from peer.options.option import Option

FANNED_OUT: Final = (
    "hunt",
    "bench exactness",
    "bench hypergradient",
    "bench tuning",
    "bench personalization",
)
SWARM: Final = ("swarm",)

ENGINE_OPTIONS: Final = (
    Option(
        name="engine",
        read=readers.engine,
        help="processes: of this machine; ray: of a Ray cluster, which needs Ray (hyperpush[ray])",
        commands=(*SWARM, *FANNED_OUT),
        group="processes",
        metavar="NAME",
        default="processes",
    ),
    Option(
        name="processes",
        read=readers.whole(1),
        help="processes of this machine that share the agents; 1: this one",
        commands=SWARM,
        group="processes",
        metavar="N",
        default=1,
    ),
    Option(
        name="agents_per_actor",
        read=readers.whole(1),
        help="with --engine ray, agents in each of its actors",
        commands=SWARM,
        group="processes",
        metavar="N",
        default=25,
    ),
    Option(
        name="ray_address",
        read=readers.text,
        help="of a Ray cluster",
        commands=(*SWARM, *FANNED_OUT),
        group="processes",
        metavar="ADDRESS",
        unset="that in RAY_ADDRESS, or a Ray of this machine while the command runs",
    ),
    Option(
        name="actor_cpus",
        read=readers.positive,
        help="CPUs that Ray sets aside for an actor, or for a job",
        commands=(*SWARM, *FANNED_OUT),
        group="processes",
        metavar="N",
        default=1.0,
    ),
    Option(
        name="actor_memory",
        read=readers.byte_count,
        help="bytes that Ray sets aside for an actor, such as 2G",
        commands=SWARM,
        group="processes",
        metavar="SIZE",
        unset="not counted",
    ),
)
