"""What one option is; `peer.options.table` lists them.

    name        tick_ms           key of a file, in the table [GROUP] if that is one of FILE_TABLES
    flag        --tick-ms
    variable    HYPERPUSH_TICK_MS

Nothing else of an option is written anywhere: parser, files, environment and `hyperpush config` read this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.options.readers import Reader

Form = Literal["value", "list", "switch", "optional", "positional", "positionals"]

FILE_TABLES: Final = ("settings", "faults")
PREFIX: Final = "HYPERPUSH_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of one or more commands.

    `form`: `list` may be given several times; `switch` takes no value; the value of `optional` may be left
    out, which reads as ""; `positional` has no flag; of `positionals`, without a flag, there are as
    many as are given, and one at least if `required`.
    """

    name: str
    read: Reader
    help: str
    commands: Sequence[str]
    group: str = "options"
    form: Form = "value"
    metavar: str | None = None
    default: object = None
    defaults: Mapping[str, object] = field(default_factory=dict)  # of the commands where it is another one
    unset: str = ""  # for people: what happens without it, where the default does not say it
    required: bool = False
    configurable: bool = True  # in files and in the environment, where the command reads them

    @property
    def flag(self) -> str:
        """As on a command line."""
        return "--" + self.name.rstrip("_").replace("_", "-")

    @property
    def variable(self) -> str:
        """As in the environment."""
        return PREFIX + self.name.upper()

    @property
    def key(self) -> str:
        """As in a file, with its table."""
        return f"{self.group}.{self.name}" if self.group in FILE_TABLES else self.name

    def default_of(self, command: str) -> object:
        """The value if nobody gives one."""
        return self.defaults.get(command, self.default)
