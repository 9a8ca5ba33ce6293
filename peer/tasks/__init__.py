"""Built-in tasks: problems for every agent of a swarm, and how they are scored."""

from peer.tasks.task import TASKS, Answer, Task, make_task

__all__ = ["TASKS", "Answer", "Task", "make_task"]
