"""What a scenario does to an agent that is a process of its own: it waits, ends, and begins anew. An edge.

To come back is to execute the same command once more, as whoever supervises processes does; all that was open
is closed by that without a word to anybody, as by SIGKILL.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from peer.scenario import Kill, Leave, Pause, told
from peer.seats import Changes

if TYPE_CHECKING:
    import argparse
    import asyncio
    from collections.abc import Callable
    from typing import NoReturn

    from peer.scenario import AnyChange, Scenario
    from peer.service import AgentService
    from wire import PeerId

KILLED: Final = 137  # exit code of a process that was ended by SIGKILL
BEGAN: Final = "_HYPERPUSH_SCENARIO_BEGAN"  # by the clock of the machine, which goes on when processes end
LEAST_S: Final = 0.001  # of a duration, most of which has passed


class Course:
    """Where in its scenario this process is."""

    def __init__(self, scenario: Scenario) -> None:
        now = time.monotonic()
        self.whole = scenario
        self.began = float(os.environ.get(BEGAN, now))
        self.goes_on = BEGAN in os.environ  # it has been there before
        self.came_s = 0.0  # when the agent came last, of the whole scenario

    @property
    def passed_s(self) -> float:
        """Since the scenario began."""
        return time.monotonic() - self.began

    def wait(self, peer: PeerId, options: argparse.Namespace, say: Callable[[str], None]) -> Scenario:
        """Wait until the agent is to be there; what is left then. Durations of `options` are shortened."""
        if strangers := self.whole.strangers(peer):
            say(f"{self.whole.file} names {', '.join(strangers)}; this agent is {peer}")
        if not self.goes_on:
            self.began = time.monotonic()  # what it took to get here is no time of the file
        at_s = self.whole.next_coming(peer, self.passed_s if self.goes_on else 0.0)
        if at_s is not None and at_s > self.passed_s:
            say(f"not there before {at_s:g} s, as {self.whole.file} says")
            time.sleep(at_s - self.passed_s)
        self.came_s = passed_s = self.passed_s if at_s is None else at_s
        if options.duration is not None:
            options.duration = max(LEAST_S, options.duration - passed_s)
        options.until = [
            replace(goal, value=max(LEAST_S, goal.value - passed_s)) if goal.kind == "time" else goal
            for goal in options.until
        ]
        return self.whole.since(passed_s)

    def again(self) -> NoReturn:
        """Begin anew."""
        os.environ[BEGAN] = repr(self.began)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  (this very command)


class OwnChanges(Changes):
    """What a scenario file does to this agent; what it does to others is theirs to do."""

    def __init__(
        self,
        course: Course,
        left: Scenario,
        service: AgentService,
        stop: asyncio.Event,
        say: Callable[[str], None],
    ) -> None:
        course.began = time.monotonic() - course.came_s  # what it took to start is no time of the file
        self._peer = service.agent.identity.peer
        super().__init__(left.of(self._peer)[0])
        self.comes_back = False  # after it has left
        self._course = course
        self._left = left
        self._service = service
        self._stop = stop
        self._say = say

    async def carry_out(self, change: AnyChange[str]) -> None:
        """Do this to the process."""
        self._say(told(replace(change, at_s=change.at_s + self._course.came_s)))
        comes_back = self._left.next_coming(self._peer, change.at_s) is not None
        match change:
            case Kill() if comes_back:
                self._course.again()
            case Kill():
                sys.stdout.flush()
                os._exit(KILLED)
            case Leave():
                self.comes_back = comes_back
                self._stop.set()
            case Pause(duration_s=duration_s):
                self._service.pause(duration_s)
