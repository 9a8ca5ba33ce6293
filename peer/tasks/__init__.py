"""Tasks: problems for every agent of a swarm, built in or from a file, and how they are scored."""

from peer.tasks.scoring import Answer
from peer.tasks.task import TASKS, Task, make_task

__all__ = ["TASKS", "Answer", "Task", "make_task"]
