"""`hyperpush keys`: make a swarm key, show which keys a file holds, show who an agent is."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from typing import TYPE_CHECKING

from peer.key_files import read_key_ring
from peer.state import StateDirectory, look_at
from wire.keys import SECRET_BYTES, KeyRing, display_fingerprint

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

HEADER = """\
# hyperpush swarm key {key_id}
# Whoever has this file is a member of the swarm: keep it secret (chmod 600), carry it to every machine in a
# safe way, and start each agent with --key FILE.
# Several lines are a key ring: the first key seals what is sent, all of them open what arrives. To change
# keys without stopping, add the new one as the second line everywhere, then make it the first everywhere,
# then remove the old one.
"""


def main(options: argparse.Namespace) -> int:
    """Do what was asked for; returns the exit code."""
    match options.keys_command:
        case "new-swarm":
            new_swarm()
        case "show":
            show(options.file)
        case "identity":
            identity(options.state)
    return 0


def new_swarm() -> None:
    """Print a key file of one new key. A file that the output goes to is closed to other users first."""
    _close_to_others(sys.stdout.fileno())
    ring = KeyRing.new(secrets.token_bytes(SECRET_BYTES))
    print(HEADER.format(key_id=ring.key_ids[0]) + ring.to_text(), end="")


def show(file: Path) -> None:
    """Print which keys a file holds, by their ids: nothing secret."""
    for index, key_id in enumerate(read_key_ring(file, "file").key_ids):
        print(key_id, "opens what arrives" if index else "seals what is sent, opens what arrives", sep="  ")


def identity(state: Path) -> None:
    """Print the fingerprint of the agent with this state directory, as it stands in lists of those let in.

    If there is none yet, it is made. An agent that is running there is not disturbed.
    """
    found = look_at(state).identity
    if found is None:
        with StateDirectory(state) as made:
            found = made.identity
    print(display_fingerprint(found.fingerprint))


def _close_to_others(descriptor: int) -> None:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        with contextlib.suppress(PermissionError):  # a memory stick knows no users
            os.fchmod(descriptor, stat.S_IMODE(mode) & stat.S_IRWXU)
