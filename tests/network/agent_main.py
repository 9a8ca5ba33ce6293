"""`hyperpush run`, and beside it a file that always holds what the agent has come to.

`python -m tests.network.agent_main FILE run ...`: the command is the real one. The test reads the file while
the agent runs, and after it was killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from peer.cli import main
from peer.running import answer, view
from peer.service import AgentService

WRITE_EVERY_S = 0.25


def found(service: AgentService) -> dict[str, Any]:
    """Everything a test asks of an agent, as JSON."""
    agent, seen, now = service.agent, view(service), answer(service)
    return {
        "peer": seen.id,
        "tick": seen.tick,
        "epoch": seen.epoch,
        "phase": seen.phase,
        "residual": seen.residual,
        "accuracy": {"shared": seen.shared, "personal": seen.personal},
        "out_neighbours": agent.out_neighbours,
        "alive": agent.peers.alive(),
        **{
            part: {name: tensor.tolist() for name, tensor in getattr(now, part).items()}
            for part in ("model", "adjoint", "hypergradient")
        },
    }


async def keep_written(service: AgentService, file: Path) -> None:
    """Replace the file again and again: who reads it finds it whole."""
    loop = asyncio.get_running_loop()
    while True:
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(found(service)), encoding="utf-8")
        os.replace(draft, file)
        due = loop.create_future()
        timer = loop.call_later(WRITE_EVERY_S, due.set_result, None)
        try:
            await due
        finally:
            timer.cancel()


def watch(file: Path) -> None:
    """Let every agent of this process write what it has come to."""
    run = AgentService.run

    async def watched(service: AgentService) -> None:
        writer = asyncio.create_task(keep_written(service, file))
        try:
            await run(service)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    AgentService.run = watched  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
