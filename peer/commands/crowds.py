"""Where the agents of `hyperpush swarm` run: in this process, in several, or in a Ray cluster."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from peer.errors import SettingError
from peer.here import AgentsHere
from peer.swarm_page import SwarmPage

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from peer.admin_access import AdminAccess
    from peer.data.choice import DataChoice
    from peer.page.desk import TellFaults
    from peer.scenario import Scenario
    from peer.settings import AgentSettings
    from peer.spread.crew import Crew
    from peer.swarm import Crowd, Page, Tell, TellChange
    from peer.tasks import Task
    from peer.trace.files import Traces
    from peer.until import Ending
    from wire import FaultPlan


class Crowds:
    """Makes a crowd, and its page, as the options have it. Enter it before an event loop runs."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Raises `SettingError` for options that do not go together."""
        self._options = options
        self._uses_ray = options.engine == "ray"
        self._crew: Crew | None = None
        if self._uses_ray and options.processes > 1:
            raise SettingError("processes", options.processes, "with --engine ray give --agents-per-actor")
        if self._is_spread and options.trace is not None:
            remedy = "agents of other processes write none: leave it out, or --processes and --engine"
            raise SettingError("trace", str(options.trace), remedy)

    @property
    def told(self) -> str:
        """Where they run, for people; "" if it is here."""
        if not self._is_spread:
            return ""
        return f" in {len(self._sizes())} {'actors of Ray' if self._uses_ray else 'processes'}"

    @property
    def _is_spread(self) -> bool:
        return self._uses_ray or len(self._sizes()) > 1

    def _sizes(self) -> list[int]:
        """Agents of each process, as equal as can be."""
        options = self._options
        places = -(-options.agents // options.agents_per_actor) if self._uses_ray else options.processes
        places = min(places, options.agents)
        return [options.agents // places + (number < options.agents % places) for number in range(places)]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Connected to a Ray cluster, if it is to be one. Raises `SettingError`."""
        options = self._options
        if not self._uses_ray:
            yield
            return
        from peer.spread.ray_cluster import cluster
        from peer.spread.ray_crew import RayCrew

        with cluster(options.ray_address, len(self._sizes()) * options.actor_cpus) as found:
            self._crew = RayCrew(found, options.actor_cpus, options.actor_memory)
            yield

    def make(
        self,
        task: Task,
        settings: AgentSettings,
        choice: DataChoice,
        faults: FaultPlan,
        scenario: Scenario,
        *,
        on_event: Tell,
        on_change: TellChange,
        traces: Traces | None,
        say: Callable[[str], None],
    ) -> Crowd:
        """`say` is told of processes that end and come back."""
        options = self._options
        if not self._is_spread:
            return AgentsHere(
                task,
                settings,
                faults=faults,
                scenario=scenario,
                seed=options.seed,
                on_event=on_event,
                on_change=on_change,
                traces=traces,
            )
        from peer.assembly import check_alike
        from peer.spread.place import Settlement
        from peer.spread.processes import ProcessCrew
        from peer.spread.spread import Spread

        check_alike(task.problems)
        sizes = self._sizes()
        cores = options.actor_cpus if self._uses_ray else (os.cpu_count() or 1) / len(sizes)
        starts = [sum(sizes[:number]) for number in range(len(sizes))]
        settlements = [
            Settlement(
                options.task.resolve() if isinstance(options.task, Path) else options.task,
                options.agents,
                options.seed,
                options.personalization,
                replace(choice, data_dir=choice.data_dir and choice.data_dir.resolve()),
                settings,
                faults,
                tuple(range(start, start + size)),
                threads=max(1, round(cores)),
            )
            for start, size in zip(starts, sizes, strict=True)
        ]
        return Spread(
            settlements,
            self._crew or ProcessCrew(),
            scenario,
            on_event=on_event,
            on_change=on_change,
            say=say,
            wants_details=options.out is not None,
        )

    def page(
        self,
        title: str,
        crowd: Crowd,
        end: Ending,
        access: AdminAccess,
        note: Callable[[str], None],
        on_faults: TellFaults,
    ) -> Page:
        """`note` is told where it is, `on_faults` what people do to links there."""
        if isinstance(crowd, AgentsHere):
            return SwarmPage(title, crowd.seats, end.describe, access, note, on_faults)
        from peer.spread.page import SpreadPage
        from peer.spread.spread import Spread

        assert isinstance(crowd, Spread)
        return SpreadPage(title, crowd, access, note, on_faults)
