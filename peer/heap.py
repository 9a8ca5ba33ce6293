"""How the C library keeps the memory of a process that lives for months. An edge.

glibc gives threads heaps of their own, up to eight for every core. Agents compute now in one thread, now in
another, and what one allocates another frees: every heap keeps holes that only its own threads fill again.
With one heap for all, and what is free in it given back now and then, a process stays as large as it is:
without, it grows by 5 to 10 MB an hour (`hyperpush soak --real`), though its own objects do not.
"""

from __future__ import annotations

import ctypes
from typing import Any

ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


def give_back() -> bool:
    """Let the system have what is free within the heap; whether there was something. Takes milliseconds."""
    return _call("malloc_trim", 0)


def share_one() -> bool:
    """Let threads that are started from now on share one heap; whether the C library knows how."""
    return _call("mallopt", ARENA_MAX, 1)


def _call(name: str, *arguments: int) -> bool:
    """What this function of the C library answers; False where there is none: another system or library."""
    try:
        function: Any = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return False
    return bool(function(*arguments))
