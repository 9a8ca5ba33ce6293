"""What several suites ask: whether a part has all, takes its text, and leaves alone what it is given."""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from peer.blame import cause
from peer.errors import SettingError
from peer.extensions.installed import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

TEXTS: Final = ("", "?")  # after the colon of NAME:TEXT; few parts have a use for them


def name_of(make: Callable[..., Any]) -> str:
    """That of the user's class or function; "" if it has none."""
    while isinstance(make, partial):
        make = make.func
    named = str(getattr(make, "__name__", type(make).__name__))
    return "" if named == "<lambda>" else named


def has_what_is_asked_for(where: str, make: Callable[..., Any], part: Any) -> None:
    """The attributes of the point. Raises `AssertionError`."""
    try:
        checked(where, name_of(make), part)
    except SettingError as error:
        raise AssertionError(error.remedy) from error


def takes_its_text(make: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Whether NAME:TEXT makes a part or is refused in words. Nothing is known of makers without signatures.

    The text is the keyword `text`: another parameter that looks like one would never be given.
    """
    try:
        signature = inspect.signature(make)
        given = signature.bind_partial(*arguments, **options).arguments
    except (TypeError, ValueError):
        return
    if "text" not in signature.parameters:
        for name, one in signature.parameters.items():
            assert name in given or not isinstance(one.default, str), (
                f"nothing ever gives it {name!r}: what is after the colon of NAME:TEXT is the keyword text"
            )
        return
    for text in TEXTS:
        try:
            make(*arguments, **options, text=text)
        except ValueError:  # of which those that name a remedy are some
            continue
        except Exception as error:
            told = f"for NAME:{text} it ends in {cause(error)}: raise a ValueError that says what to write"
            raise AssertionError(told) from error


@contextlib.contextmanager
def nothing_drawn(what: str) -> Iterator[None]:
    """Global random streams stay where they are. Raises `AssertionError`."""
    of_torch, of_python, of_numpy = torch.get_rng_state(), random.getstate(), _of_numpy()
    yield
    for same, stream in (
        (torch.equal(of_torch, torch.get_rng_state()), "torch"),
        (of_python == random.getstate(), "Python"),
        (of_numpy == _of_numpy(), "numpy"),
    ):
        assert same, f"{what} draws from the global random stream of {stream}"


@contextlib.contextmanager
def nothing_changed(what: str, *given: Any) -> Iterator[None]:
    """Neither random streams nor any tensor among these, in dicts and lists. Raises `AssertionError`."""
    before = [(tensor, tensor.detach().clone()) for one in given for tensor in tensors_in(one)]
    with nothing_drawn(what):
        yield
    for tensor, was in before:
        same = torch.equal(torch.nan_to_num(tensor.detach()), torch.nan_to_num(was))
        assert same, f"{what} changes what it is given in place: x + y leaves x, x.add_(y) does not"


def tensors_in(given: object) -> Iterator[Tensor]:
    """All of them, also in dicts, lists and tuples."""
    if isinstance(given, torch.Tensor):
        yield given
    elif isinstance(given, Mapping):
        yield from tensors_in(list(given.values()))
    elif isinstance(given, Sequence) and not isinstance(given, str | bytes):
        for one in given:
            yield from tensors_in(one)


def _of_numpy() -> tuple[int, bytes]:
    state = np.random.get_state(legacy=False)["state"]
    return int(state["pos"]), bytes(state["key"].tobytes())
