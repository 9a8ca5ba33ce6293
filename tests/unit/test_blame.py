"""Whose code has failed: the user's innermost line, wherever the error was raised in the end."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from peer.blame import INSTALLED, TOLD_MAX, cause, last_line, remember_users_line, users_line
from peer.errors import SettingError
from peer.extensions import make, register
from peer.personalization import personalization

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

HERE = "tests/unit/test_blame.py:"


def raised(fails: Callable[[], Any]) -> Exception:
    try:
        fails()
    except Exception as error:
        return error
    raise AssertionError("it does not fail")


def test_the_cause_is_one_short_line() -> None:
    assert cause(IndexError("out\nof   bounds")) == "IndexError: out of bounds"
    assert cause(IndexError()) == "IndexError"
    assert cause(IndexError("x" * 10_000)) == f"IndexError: {'x' * TOLD_MAX}..."


def test_lines_of_libraries_and_of_ours_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])

    def multiplies() -> None:
        torch.nn.functional.linear(torch.ones(2), torch.ones(3, 3))

    told = users_line(raised(multiplies))
    assert told is not None
    assert told.startswith(HERE)
    assert told.endswith(", in multiplies")
    error = raised(lambda: json.loads("no json"))
    assert str(users_line(error)).endswith(", in <lambda>")


def test_where_no_line_is_the_users_there_is_none() -> None:
    error = raised(lambda: personalization("lora"))
    error.__traceback__ = error.__traceback__.tb_next.tb_next  # type: ignore[union-attr]
    assert users_line(error) is None
    assert "peer/personalization/registry.py:" in last_line(error)
    remember_users_line(error)
    assert not hasattr(error, "__notes__")


def test_what_led_to_it_counts() -> None:
    def fails() -> None:
        raise OSError("no such device")

    with register("partition", "broken", fails):
        error = raised(lambda: make("partition", "broken"))
    assert isinstance(error, SettingError)
    error.__traceback__ = None
    assert str(users_line(error)).endswith(", in fails")


def test_another_process_remembers_it() -> None:
    def fails() -> None:
        raise ValueError("there")

    error = raised(fails)
    remember_users_line(error)
    there = users_line(error)
    here = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    assert here.__traceback__ is None
    assert users_line(here) == there


def test_an_installed_file_counts_if_no_other_does() -> None:
    names: dict[str, Any] = {"__name__": "brought"}
    file = str(INSTALLED[0] / "brought" / "part.py")
    exec(compile("def part(then):\n    return then()", file, "exec"), names)  # noqa: S102
    error = raised(lambda: names["part"](lambda: 1 / 0))
    assert HERE in str(users_line(error))
    error = raised(lambda: names["part"](None))
    assert HERE in str(users_line(error))
    error.__traceback__ = error.__traceback__.tb_next.tb_next  # type: ignore[union-attr]
    assert str(users_line(error)) == f"{file}:2, in part"
