"""What `hyperpush doctor` and `hyperpush check` say: findings, each with evidence and a remedy. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN_MAX: Final = 8  # names or addresses in one line, lines of one kind


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was found, how that is known, and what to do if it is not as it should be."""

    level: Level
    finding: str
    evidence: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """For programs."""
        return {
            "level": self.level.value,
            "finding": self.finding,
            "evidence": self.evidence,
            "remedy": self.remedy,
        }

    def to_line(self) -> str:
        """For people."""
        line = f"{self.level:<8} {self.finding}: {self.evidence}"
        return f"{line} -> {self.remedy}" if self.remedy else line


def listed(items: Iterable[str]) -> str:
    """The first few, with commas."""
    texts = list(items)
    more = f" and {len(texts) - SHOWN_MAX} more" if len(texts) > SHOWN_MAX else ""
    return ", ".join(texts[:SHOWN_MAX]) + more
