"""Whether a task that somebody brings can be learned by a swarm, and what a tick of it costs."""
