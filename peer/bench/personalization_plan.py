"""What `hyperpush bench personalization` measures, in which order, and which setting stands for a method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from peer.bench.personalization_networks import DIRECTED, NETWORKS, SILENT
from peer.bench.personalization_runs import (
    ALL_LABELS,
    NO_NETWORK,
    OURS,
    TRACKING,
    TUNED_WITH,
    Run,
    Scale,
    grid_of,
    has_network,
)
from peer.rivals.registry import RIVALS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from peer.bench.personalization_runs import Score

METHODS: Final = (next(iter(RIVALS)), ALL_LABELS, *list(RIVALS)[1:], TRACKING, OURS)
GROUPS: Final = "dirichlet:0.4+permuted:3"


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
                    for network in section.networks if has_network(method) else (NO_NETWORK,):
                        for setting in range(len(grid_of(method))):
                            yield Run(section.scale, network, method, setting, TUNED_WITH)

    def then(self, known: Mapping[Run, Score]) -> Iterator[Run]:
        """What is left, once all of `first` is known."""
        for section in self.sections:
            for method in reversed(self.methods):
                for network in section.networks if has_network(method) else (NO_NETWORK,):
                    setting = self.chosen(section, network, method, known)
                    if setting is None:
                        continue
                    for seed in range(section.seeds):
                        one = Run(section.scale, network, method, setting, seed)
                        if one not in known:
                            yield one

    def chosen(self, section: Section, network: str, method: str, known: Mapping[Run, Score]) -> int | None:
        """The setting that is best on validation samples with one seed; None where nothing is known."""
        if method == ALL_LABELS:
            method = next(iter(RIVALS))
        if section.settings_of is not None:
            section = next(one for one in self.sections if one.name == section.settings_of)
        network = network if has_network(method) else NO_NETWORK
        runs = [
            Run(section.scale, network, method, setting, TUNED_WITH)
            for setting in range(len(grid_of(method)))
        ]
        there = [one for one in runs if one in known]
        if not there:
            return None
        return max(there, key=lambda one: known[one].best.chosen_by).setting


def whole_plan(scale: Scale, large: int, seeds: int) -> Plan:
    """Three tables: the five networks; more agents on the last two; groups that see other labels."""
    networks = Section("networks", scale, NETWORKS, seeds)
    sections = [networks]
    if large:
        bigger = replace(scale, agents=large)
        sections.append(Section("many agents", bigger, (DIRECTED, SILENT), 1, settings_of=networks.name))
    if scale.partition is None:
        grouped = replace(scale, partition=GROUPS)
        sections.append(Section("groups", grouped, (DIRECTED,), 1))
    return Plan(tuple(sections))


def quick_plan(scale: Scale) -> Plan:
    """The last two networks, one seed."""
    return Plan((Section("networks", scale, (DIRECTED, SILENT), 1),))
