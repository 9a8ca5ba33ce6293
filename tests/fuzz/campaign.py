"""Throw hostile input at the program for as long as you like, and tell what came of it.

    python -m tests.fuzz.campaign --seconds 60 --seed 1 --target all

Targets: what strangers send, what users give; `swarm`, a small swarm under each kind of attack; `crowds`, a
million announcements and a million messages of strangers, and what they took.
`--engine atheris` gives one target to libFuzzer instead, if the package atheris is installed. Exit code 1 if
anything was found.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import random
import resource
import sys
import tempfile
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch

from tests.fuzz.admin_sockets import AdminSockets
from tests.fuzz.guided import fuzz
from tests.fuzz.hostile_agent import HostileMembers, crowd_of_announcements, crowd_of_strangers
from tests.fuzz.hostile_swarm import ATTACKS, KINDS, attacked
from tests.fuzz.mutation import change_tree
from tests.fuzz.replayed import Replayed
from tests.fuzz.targets import Admin, Decoder, Envelope, Predictions, Records, Sealed
from tests.fuzz.user_files import Config, Keys, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fuzz.guided import Target

TARGETS: dict[str, tuple[Callable[[], Any], ...]] = {
    "decoder": (Decoder,),
    "envelope": (Envelope, Sealed),
    "records": (Records,),
    "agent": (HostileMembers,),
    "admin": (Admin, AdminSockets, Predictions),
    "scenario": (Scenario,),
    "config": (Config,),
    "keys": (Keys,),
    "replayed": (Replayed,),
}
ERROR_MAX = 1e-6
SWARM_TICKS, ATTACKED_TICKS = 500, 100


def main() -> int:
    """Run what was asked for; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--target", default="all", choices=[*TARGETS, "swarm", "crowds", "all"])
    parser.add_argument("--seconds", type=float, default=10.0, help="of the processor, for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1_000_000, help="of strangers in each crowd")
    parser.add_argument("--engine", default="guided", choices=["guided", "atheris"])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [make for name, kinds in TARGETS.items() if asked.target in (name, "all") for make in kinds]
    if asked.engine == "atheris":
        give_to_atheris(chosen[0](), asked.seed, asked.seconds)
    found = 0
    for make in chosen:
        target = make()
        totals = fuzz(target, seed=asked.seed, seconds=asked.seconds)
        found += len(totals.findings)
        print("\n".join(totals.lines()), flush=True)
        if isinstance(target, AdminSockets):
            target.close()
    if asked.target in ("swarm", "all"):
        found += sum(not attack_swarm(name) for name in ATTACKS)
    if asked.target in ("crowds", "all"):
        send_crowds(asked.count)
    print(f"largest size of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")
    return int(found > 0)


def attack_swarm(name: str) -> bool:
    """Whether the swarm came to its own answer in spite of this attack."""
    attack = attacked(ATTACKS[name], ticks=SWARM_TICKS, until=ATTACKED_TICKS, liars=len(KINDS), measured=True)
    worst = max(attack.errors.values())
    print(
        f"swarm     {name}: error {worst:.1e}, largest estimate {max(attack.worst):.3g}, "
        f"{len(attack.quarantines)} quarantines, peak {attack.peak_bytes / 1e6:.2f} MB, {attack.outcomes}",
        flush=True,
    )
    return worst < ERROR_MAX


def send_crowds(count: int) -> None:
    """Print what crowds of strangers took."""
    peak, held = crowd_of_announcements(count)
    print(f"crowds    {count} announcements: {held} held, peak {peak / 1e6:.2f} MB", flush=True)
    peak, outcomes = crowd_of_strangers(count)
    print(f"crowds    {count} messages of strangers: peak {peak / 1e6:.2f} MB, {outcomes}", flush=True)


def give_to_atheris(target: Target, seed: int, seconds: float) -> None:
    """Fuzz with libFuzzer, changing structure half of the time; ends the process."""
    atheris = importlib.import_module("atheris")
    read = [one for one in sys.modules.values() if str(getattr(one, "__file__", "")).endswith(target.files)]
    for module in read:
        kinds = [kind for kind in vars(module).values() if isinstance(kind, type)]
        for holder in (module, *kinds):
            for function in vars(holder).values():
                if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                    atheris.instrument_func(function)

    def mutate(data: bytes, max_size: int, change: int) -> bytes:
        rng = random.Random(change)
        if rng.random() < 0.5:
            with contextlib.suppress(ValueError, TypeError, OverflowError, RecursionError):
                tree = target.read(data)
                return target.write(change_tree(rng, tree, tree))[:max_size]
        return bytes(atheris.Mutate(data, max_size))

    with tempfile.TemporaryDirectory() as folder:
        for number, one in enumerate(target.seeds()):
            (Path(folder) / str(number)).write_bytes(one)
        flags = [f"-seed={seed + 1}", f"-max_total_time={seconds:.0f}", "-max_len=16384", folder]
        atheris.Setup([sys.argv[0], *flags], target.throw, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
