"""What a machine does to processes: small disks that fill up, limits that are reached. An edge: the system.

Disks are mounted where that is permitted. Elsewhere a limit on the size of files stands for a full disk: a
process under it can write nothing to any file.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import resource
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Final

DISK_BYTES: Final = 16 * 2**20  # for the state of a few small agents
HEADROOM_BYTES: Final = 2**20  # between what is used and the limit, so that it is reached, not passed already
PREFIX: Final = "hyperpush-chaos-"
_LIMITS: Final = (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_AS)
_BALLAST: Final = "ballast"
_MNT_DETACH: Final = 2
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Workplace:
    """A directory with a small disk for each process; `close` leaves nothing of it.

    What a run that was killed has left is removed first.
    """

    def __init__(self, processes: int) -> None:
        remove_stale()
        self.path: Final = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self._disks = [self.path / f"disk-{number}" for number in range(processes)]
        self.mounted = True
        for disk in self._disks:
            disk.mkdir()
            self.mounted = self.mounted and _mount(disk)

    @property
    def disks(self) -> str:
        """How they fill up, for people."""
        return (
            f"a tmpfs of {DISK_BYTES >> 20} MiB for each process"
            if self.mounted
            else "no file may grow (mounting needs root)"
        )

    def disk(self, process: int) -> Path:
        """The directory of this process."""
        return self._disks[process]

    def fill(self, process: int, pid: int) -> None:
        """No room is left on the disk of this process, whose pid is only of interest without disks."""
        if not self.mounted:
            _limit(pid, resource.RLIMIT_FSIZE, 0)
            return
        with contextlib.suppress(OSError), (self._disks[process] / _BALLAST).open("wb", buffering=0) as file:
            while file.write(bytes(2**16)):
                pass

    def empty(self, process: int, pid: int) -> None:
        """There is room again."""
        if self.mounted:
            (self._disks[process] / _BALLAST).unlink(missing_ok=True)
        else:
            lift(pid)

    def close(self) -> list[str]:
        """Unmount and remove everything; what could not be."""
        return _remove(self.path)


def exhaust_files(pid: int) -> None:
    """The process can open nothing more."""
    _limit(pid, resource.RLIMIT_NOFILE, len(os.listdir(f"/proc/{pid}/fd")))


def exhaust_memory(pid: int) -> None:
    """The process has hardly more memory than it uses."""
    _limit(pid, resource.RLIMIT_AS, _memory(pid, "VmSize") + HEADROOM_BYTES)


def lift(pid: int) -> None:
    """Give a process the limits that it has inherited; one that has ended needs none."""
    with contextlib.suppress(ProcessLookupError):
        for limit in _LIMITS:
            resource.prlimit(pid, limit, resource.getrlimit(limit))


def end_with(parent: int) -> None:
    """From now on this process ends with its parent, even if it is stopped: for a child, before it begins."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def peak_memory(pid: int) -> int:
    """Most bytes of memory that this process has had at once; 0 if it has ended."""
    try:
        return _memory(pid, "VmHWM")
    except (FileNotFoundError, ProcessLookupError, LookupError):
        return 0


def remove_stale() -> None:
    """What runs that were killed have left in the directory for temporary files."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        found = re.match(rf"{PREFIX}(\d+)-", path.name)
        if found is not None and path.stat().st_uid == os.getuid() and not Path(f"/proc/{found[1]}").exists():
            _remove(path)


def mounts_below(path: Path) -> list[str]:
    """Where something is mounted in this directory."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [where for line in lines if (where := line.split()[1]).startswith(f"{path}/")]


def _remove(path: Path) -> list[str]:
    left = [
        f"{mount}: {os.strerror(ctypes.get_errno())}"
        for mount in mounts_below(path)
        if _LIBC.umount2(mount.encode(), _MNT_DETACH) != 0
    ]
    if not left:
        shutil.rmtree(path, onerror=lambda _, name, error: left.append(f"{name}: {error[1]}"))
    return left


def _mount(path: Path) -> bool:
    options = f"size={DISK_BYTES},mode=700".encode()
    if _LIBC.mount(PREFIX.encode(), str(path).encode(), b"tmpfs", 0, options) == 0:
        return True
    if ctypes.get_errno() not in (errno.EPERM, errno.EACCES, errno.ENODEV, errno.ENOSYS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    return False


def _limit(pid: int, limit: int, soft: int) -> None:
    _, hard = resource.prlimit(pid, limit)
    resource.prlimit(pid, limit, (soft, hard))


def _memory(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)  # of a process that has just ended
