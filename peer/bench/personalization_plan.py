"""What `hyperpush bench personalization` measures, in which order, and which setting stands for a method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from peer.bench.personalization_networks import DIRECTED, NETWORKS, SILENT
from peer.bench.personalization_runs import (
    ALL_LABELS,
    OURS,
    TRACKING,
    TUNED_WITH,
    Run,
    Scale,
    grid_of,
    place_of,
)
from peer.rivals.alone import Local
from peer.rivals.registry import RIVALS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from peer.bench.personalization_runs import Score

METHODS: Final = (Local.name, ALL_LABELS, *(name for name in RIVALS if name != Local.name), TRACKING, OURS)
GROUPS: Final = "dirichlet:0.4+permuted:3"
LAST_TWO: Final = (DIRECTED, SILENT)


class Chosen(NamedTuple):
    """What stands for a method on a network."""

    setting: int
    after: bool  # whether it is scored after averaging


@dataclass(frozen=True, slots=True)
class Section:
    """One table."""

    name: str
    scale: Scale
    networks: tuple[str, ...]
    seeds: int
    settings_of: str | None = None  # the section whose settings count here; None: its own


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it."""

    sections: tuple[Section, ...]
    methods: tuple[str, ...] = METHODS

    def first(self) -> Iterator[Run]:
        """What settings are chosen by, the longest first."""
        for section in self.sections:
            if section.settings_of is None:
                for method in reversed(self.methods):
                    if method == ALL_LABELS:
                        continue
                    for place in dict.fromkeys(place_of(method, network) for network in section.networks):
                        yield from _grid(section.scale, place, method)

    def then(self, known: Mapping[Run, Score]) -> Iterator[Run]:
        """What is left, once all of `first` is known."""
        for section in self.sections:
            for method in reversed(self.methods):
                for network in section.networks:
                    chosen = self.chosen(section, network, method, known)
                    if chosen is None:
                        continue
                    place = place_of(method, network)
                    for seed in range(section.seeds):
                        one = Run(section.scale, place, method, chosen.setting, seed)
                        if one not in known:
                            yield one

    def chosen(
        self, section: Section, network: str, method: str, known: Mapping[Run, Score]
    ) -> Chosen | None:
        """Setting and moment that are best on validation samples with one seed; None until all are known."""
        if method == ALL_LABELS:
            method = Local.name
        if section.settings_of is not None:
            section = next(one for one in self.sections if one.name == section.settings_of)
        runs = list(_grid(section.scale, place_of(method, network), method))
        if not all(one in known for one in runs):
            return None
        best = max(runs, key=lambda one: known[one].best.chosen_by)
        return Chosen(best.setting, known[best].is_better_after)


def _grid(scale: Scale, place: str, method: str) -> Iterator[Run]:
    for setting in range(len(grid_of(method))):
        yield Run(scale, place, method, setting, TUNED_WITH)


def whole_plan(
    scale: Scale, large: int, seeds: int, networks: Sequence[str] = NETWORKS, *, groups: bool = True
) -> Plan:
    """Three tables: the five networks; more agents on the last two; groups that see other labels."""
    section = Section("networks", scale, tuple(networks), seeds)
    sections = [section, *_larger(section, large)]
    if groups and scale.partition is None and DIRECTED in networks:
        grouped = replace(scale, partition=GROUPS)
        sections.append(Section("groups", grouped, (DIRECTED,), 1))
    return Plan(tuple(sections))


def quick_plan(scale: Scale, large: int = 0, seeds: int = 1, networks: Sequence[str] = LAST_TWO) -> Plan:
    """The last two networks, unless others are given."""
    section = Section("networks", scale, tuple(networks), seeds)
    return Plan((section, *_larger(section, large)))


def _larger(section: Section, agents: int) -> list[Section]:
    """The same with more agents, on the last two networks, with one seed and the same settings."""
    networks = tuple(network for network in section.networks if network in LAST_TWO)
    if not agents or not networks:
        return []
    return [Section("many agents", replace(section.scale, agents=agents), networks, 1, section.name)]
