"""Exit codes of the commands beside 0 and 1; see `peer.cli`."""

from __future__ import annotations

from typing import Final

USER_ERROR: Final = 2
INTERRUPTED: Final = 130  # by Ctrl-C, as shells say it
READER_GONE: Final = 141  # the same, of SIGPIPE
