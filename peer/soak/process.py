"""What the operating system and the interpreter say of this process. An edge."""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
from pathlib import Path

from peer.soak.measures import BLOCKS, DESCRIPTORS, MEMORY, THREADS

MEGABYTE = 1e6


def look() -> dict[str, float]:
    """Rows of `peer.soak.measures`, after what nobody needs any more has been collected."""
    gc.collect()
    return {
        MEMORY.name: _resident_bytes() / MEGABYTE,
        BLOCKS.name: float(sys.getallocatedblocks()),
        DESCRIPTORS.name: float(len(os.listdir("/dev/fd"))),
        THREADS.name: float(_threads()),
    }


def _resident_bytes() -> float:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return float(int(pages) * os.sysconf("SC_PAGE_SIZE"))
    except OSError:  # not Linux: the most there ever was
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _threads() -> int:
    """Those that Python does not know of included, where the system tells."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()
