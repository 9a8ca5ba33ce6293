"""From options in force back to a command line: how to ask for the same once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from peer.options.parsing import options_of
from peer.options.readers import as_toml
from peer.options.sources import DEFAULT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from peer.options.option import Option

# Where results go is no part of what was asked, and the address of a store may have a password in it.
LEFT_OUT: Final = ("config", "json", "out", "tensorboard", "mlflow", "trace", "trace_mb", "trace_agent")


def command_words(options: argparse.Namespace) -> list[str]:
    """The words after `hyperpush` that give every option the value it has, whichever source it came from.

    `complete(split(words), {})` is the same again, without what LEFT_OUT names.
    """
    words = [str(options.command)]
    for option, value in _given(options):
        for one in value if option.form == "list" and isinstance(value, list) else [value]:
            words += _words(option, as_toml(one))
    return words


def given_options(options: argparse.Namespace) -> list[dict[str, object]]:
    """What was not left at its default: `option`, `value` as in a file, `from` where it comes."""
    return [
        {"option": option.name, "value": as_toml(value), "from": options.found[option.name].origin}
        for option, value in _given(options)
    ]


def _given(options: argparse.Namespace) -> Iterator[tuple[Option, object]]:
    for option in options_of(options.command):
        found = options.found[option.name]
        if found.origin != DEFAULT and option.name not in LEFT_OUT:
            yield option, found.value


def _words(option: Option, value: object) -> list[str]:
    if option.form == "switch":
        return [option.flag] if value else []
    text = str(value)
    return [f"{option.flag}={text}"] if text.startswith("-") else [option.flag, text]
