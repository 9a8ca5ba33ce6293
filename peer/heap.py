"""How the C library keeps the memory of a process that lives for months. An edge.

glibc gives threads heaps of their own, up to eight for every core. Agents compute now in one thread, now in
another, and what one allocates another frees: every heap keeps holes that only its own threads fill again.
With one heap for all, a process that runs for an hour is 15 MB smaller, and stays as it is after some minutes
(`hyperpush soak --real`). Nothing of that is seen of Python's own objects, which have heaps of another kind.
"""

from __future__ import annotations

import ctypes

ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


def share_one() -> bool:
    """Let threads that are started from now on share one heap; whether the C library knows how."""
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return False
    return bool(set_option(ARENA_MAX, 1))
