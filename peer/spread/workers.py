"""Who works off independent jobs of a benchmark or a campaign, by `--engine` and what belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.worker_processes import worker_processes

if TYPE_CHECKING:
    import argparse
    from contextlib import AbstractContextManager

    from peer.worker_processes import Workers


def workers_of(options: argparse.Namespace) -> AbstractContextManager[Workers]:
    """Processes of this machine, or a Ray cluster. To be entered before an event loop runs."""
    if options.engine == "ray":
        from peer.spread.ray_pool import ray_workers

        return ray_workers(options.ray_address, options.actor_cpus, options.jobs)
    return worker_processes(options.jobs)
