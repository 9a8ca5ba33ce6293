"""Checks that need an event loop: run them, and see that nothing is left behind."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

LIMIT_S: Final = 30.0  # for what takes moments; a hang must fail, not wait
LOOK_S: Final = 0.01
T = TypeVar("T")


def in_a_loop(check: Callable[[T], Coroutine[Any, Any, None]]) -> Callable[[T], None]:
    """A check as a function; it fails if it takes too long, and if tasks or threads outlive it."""

    @functools.wraps(check)
    def run(make: T) -> None:
        threads = set(threading.enumerate())
        asyncio.run(_run(check, make))
        left = [one.name for one in threading.enumerate() if one not in threads and not one.daemon]
        assert not left, f"threads are left: {', '.join(left)}"

    return run


async def _run(check: Callable[[T], Coroutine[Any, Any, None]], make: T) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            await check(make)
    except TimeoutError:
        raise AssertionError(f"it has not come to an end within {LIMIT_S:g} s") from None
    await asyncio.sleep(0)
    left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, f"tasks are left after close: {', '.join(left)}"


async def until(holds: Callable[[], bool], what: str) -> None:
    """Fails, saying what it waited for, if that never comes true."""
    try:
        async with asyncio.timeout(LIMIT_S / 2):
            while not holds():  # noqa: ASYNC110  (other people's code tells nobody)
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {LIMIT_S / 2:g} s") from None


async def all_closed(*parts: Any) -> None:
    """Whatever happens to one of them."""
    closing: list[Awaitable[None]] = [part.close() for part in parts]
    for error in await asyncio.gather(*closing, return_exceptions=True):
        if error is not None:
            raise error
