"""Tasks and callbacks whose bugs surface where somebody waits for them. An edge: asyncio."""

import asyncio
from collections.abc import Coroutine


class Surfacing:
    """Base of what runs in the background: `wait_failed` raises the first bug."""

    def __init__(self) -> None:
        self._failed: asyncio.Future[None] | None = None

    async def wait_failed(self) -> None:
        """Wait for a bug in a callback, and raise it; does not return otherwise."""
        if self._failed is None:
            raise RuntimeError("call start() first")
        await asyncio.shield(self._failed)

    def _open(self) -> None:
        self._failed = asyncio.get_running_loop().create_future()

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)
