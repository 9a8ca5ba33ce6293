"""`hyperpush doctor`: why peers are not found or not heard.

Exit code 0 if nothing is wrong, 1 if something is, 2 for a request that makes no sense.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import TYPE_CHECKING

from peer import assembly
from peer.display import make_console
from peer.doctor import diagnose
from peer.findings import Level
from peer.key_files import read_key_ring
from peer.options import (
    advertised_address,
    agent_settings,
    data_choice,
    dns_address,
    listen_address,
    shard_of,
)
from peer.probing import Plan, examine
from peer.tasks import make_task
from wire import PeerRecord

if TYPE_CHECKING:
    import argparse


def main(options: argparse.Namespace) -> int:
    """Look, judge and print; returns the exit code."""
    findings = diagnose(asyncio.run(examine(plan_of(options))))
    wrong = sum(finding.level is Level.PROBLEM for finding in findings)
    if options.json:
        lines = [finding.to_dict() for finding in findings]
        print(json.dumps({"problems": wrong, "findings": lines}, indent=2))
        return 1 if wrong else 0
    console = make_console()
    for finding in findings:
        console.print(finding.to_line())
    console.print(f"{wrong} problem{'s' * (wrong != 1)}" if wrong else "nothing is wrong")
    return 1 if wrong else 0


def plan_of(options: argparse.Namespace) -> Plan:
    """What to look at. Raises the errors of options that cannot be meant."""
    host, port = listen_address(options.listen)
    index, count = shard_of(options.shard)
    task = make_task(
        options.task,
        count,
        options.seed,
        options.personalization,
        shard=index,
        choice=data_choice(options),
    )
    nonce = secrets.token_hex(8)
    agent, _ = assembly.make_agent(
        task.problems[index],
        agent_settings(options, task.settings),  # the fingerprint depends on some of them
        peer=f"doctor-{nonce}",
        swarm=options.swarm,
        task=task.fingerprint,
        seed=options.seed,
        now=0.0,
        founder=False,
    )
    return Plan(
        own=PeerRecord(
            agent.identity.peer,
            0,
            "",
            options.swarm,
            agent.identity.fingerprint,
            keys=() if options.key is None else read_key_ring(options.key).key_ids,
        ),
        listen=(host, port),
        advertise=None if options.advertise is None else advertised_address(options.advertise),
        peers=tuple(dict.fromkeys(options.peer)),
        names=tuple(dict.fromkeys(dns_address(name, port) for name in options.dns)),
        zeroconf=not options.no_zeroconf,
        timeout_s=options.timeout,
        nonce=nonce,
        knows_task=options.found["task"].origin != "default",
    )
