"""Where the value of an option comes from: flag, environment, file, default, in this order of precedence.

Each source is read whole, also what a stronger one overrides: a mistake is told wherever it is made. A list
that is given in one place replaces the list of a weaker one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from peer.errors import HyperpushError, SettingError, shown
from peer.options.option import FILE_TABLES, PREFIX, Option

DEFAULT: Final = "default"

# What container platforms put into the environment for a service whose name begins with `hyperpush`.
_OF_SERVICES = re.compile(
    PREFIX + r"(.*_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_CLOSE_ENOUGH: Final = 0.6


class Found(NamedTuple):
    """The value of one option."""

    value: object
    origin: str  # as `hyperpush config` tells it: flag, environment HYPERPUSH_DROP, file agent.toml, default
    label: str  # as errors name the option there: --drop, HYPERPUSH_DROP, agent.toml: faults.drop


Values = dict[str, Found]


def relabelled(error: ValueError, label: str) -> HyperpushError:
    """The error of a reader or a check, under the name by which the user gave the value."""
    told = str(error).removeprefix(error.field) if isinstance(error, SettingError) else f": {error}"
    return HyperpushError(label + told)


def from_flags(options: Iterable[Option], given: Mapping[str, object]) -> Values:
    """What the parser of the command line found, by name. Raises `HyperpushError`."""
    return {
        option.name: Found(
            _read(option, given[option.name], _flag_label(option)), "flag", _flag_label(option)
        )
        for option in options
        if option.name in given
    }


def from_environment(options: Sequence[Option], environment: Mapping[str, str]) -> Values:
    """The variables that begin with `HYPERPUSH_`; an empty one counts as not there. Raises `HyperpushError`.

    Lists are separated by commas. The value of an unknown variable is not repeated: it may be a secret.
    """
    known = {option.variable: option for option in options}
    found: Values = {}
    for variable, given in environment.items():
        if not variable.startswith(PREFIX) or not given:
            continue
        if variable in known:
            option = known[variable]
            parts = [part.strip() for part in given.split(",")] if option.form == "list" else given
            found[option.name] = Found(_read(option, parts, variable), f"environment {variable}", variable)
        elif not _OF_SERVICES.fullmatch(variable):
            raise HyperpushError(
                f"{variable} is no option of this command; {_remedy(variable, known, PREFIX)}"
            )
    return found


def from_file(options: Sequence[Option], content: Mapping[str, object], name: str, folder: Path) -> Values:
    """The keys of a file that TOML calls `content`. Raises `HyperpushError`.

    `name` is the file's, for people. Relative paths in it are meant from its `folder`.
    """
    known = {option.key: option for option in options}
    found: Values = {}
    for key, given in _flattened(content, name).items():
        if key not in known:
            raise HyperpushError(
                f"{name}: {key} = {_short(given)} is no option of this command; {_remedy(key, known)}"
            )
        option = known[key]
        label = f"{name}: {key}"
        parts = [given] if option.form == "list" and not isinstance(given, list) else given
        value = _read(option, parts, label)
        if isinstance(value, Path):
            value = folder / value
        found[option.name] = Found(value, f"file {name}", label)
    return found


def defaults(options: Iterable[Option], command: str) -> Values:
    """What is left when nobody says anything."""
    found: Values = {}
    for option in options:
        value = option.default_of(command)
        if value is None and option.form == "list":
            value = []
        if value is None and option.form == "switch":
            value = False
        found[option.name] = Found(value, DEFAULT, _flag_label(option))
    return found


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that was probably meant."""
    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=_CLOSE_ENOUGH)
    return found[0] if found else None


def _read(option: Option, given: object, label: str) -> object:
    read: Callable[[object], object] = option.read
    try:
        if option.form not in ("list", "positionals"):
            return read(given)
        assert isinstance(given, list), "each source gives a list"
        return [read(part) for part in given]
    except ValueError as error:
        raise relabelled(error, label) from None


def _flag_label(option: Option) -> str:
    has_none = option.form in ("positional", "positionals")
    return (option.metavar or option.name.upper()) if has_none else option.flag


def _flattened(content: Mapping[str, object], name: str) -> dict[str, object]:
    """`settings.fanout` for the key `fanout` in the table `[settings]`."""
    found: dict[str, object] = {}
    for key, value in content.items():
        if key not in FILE_TABLES:
            found[key] = value
        elif isinstance(value, Mapping):
            found |= {f"{key}.{inner}": given for inner, given in value.items()}
        else:
            raise HyperpushError(f"{name}: {key} = {_short(value)} is not possible; write a table, [{key}]")
    return found


def _remedy(word: str, known: Iterable[str], prefix: str = "") -> str:
    """What was probably meant: the same name in another table, or the most similar one."""
    by_name = {name.rpartition(".")[2].removeprefix(prefix): name for name in known}
    name = nearest(word.rpartition(".")[2].removeprefix(prefix), by_name)
    if name is None:
        return "see `hyperpush config` for those there are"
    table = by_name[name].rpartition(".")[0]
    return f"did you mean {name} in the table [{table}]?" if table else f"did you mean {prefix}{name}?"


def _short(value: object) -> str:
    text = shown(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
