"""Foreseen failures of the user's side. Whatever else is raised is a bug of ours and is never caught.

    HyperpushError
    ├── SettingError      a setting, option or argument is out of range
    ├── StateError        a state directory cannot be used, or what it holds cannot be trusted
    │   └── NewerReleaseError    it was written by a newer release
    └── ProblemError      a task does not fit its contract: shapes, dtypes, losses, data

What comes from the network and is wrong raises `wire.DecodeError` or is rejected and counted, see
`wire.errors`.
"""

from __future__ import annotations


class HyperpushError(Exception):
    """A failure that the user can mend; its text says how, on one line whatever was given."""

    def __str__(self) -> str:
        text = super().__str__()
        return text if text.isprintable() else "".join(map(_printable, text))

    def __reduce__(self) -> tuple[object, ...]:
        """So that it comes through, whatever it is made from, when another process raises it."""
        return _again, (type(self), self.args, vars(self))


class SettingError(HyperpushError, ValueError):
    """A setting out of range: names field, value and remedy."""

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field}: {shown(value)} is not possible; {remedy}")
        self.field = field
        self.value = value
        self.remedy = remedy


class ProblemError(HyperpushError, ValueError):
    """A problem that does not fit `peer.BilevelProblem`."""


class StateError(HyperpushError):
    """A state directory that cannot be used: names the file, what is wrong and the remedy."""


class NewerReleaseError(StateError):
    """Not damaged, only not understood: what is older must not pass for it."""


def shown(value: object) -> str:
    """`repr(value)` for an error about it, also of what Python refuses to write: huge numbers, deep nests."""
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"<{type(value).__name__} too long to be shown>"


def _printable(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]


def _again(
    kind: type[HyperpushError], arguments: tuple[object, ...], fields: dict[str, object]
) -> HyperpushError:
    error = kind.__new__(kind)
    error.args = arguments
    vars(error).update(fields)
    return error
