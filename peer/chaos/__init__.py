"""Trouble made on purpose for real agents in real processes, and a scorecard of what it did to them.

plan        what goes wrong when, drawn from a seed. Pure
worker      a process that hosts agents, and does what its parent tells it
nonsense    a process that speaks garbage to one agent as fast as it can
process     either of them, as their parent sees it. An edge
machine     what an operating system does to processes: full disks, limits, signals. An edge
network     a network for each process, and a router that drops packets. An edge
mischief    makes the troubles of a plan. An edge
director    starts the workers, brings back who died, writes down what happens. An edge
record      what was written down. Pure
scorecard   from what was written down to what was lost. Pure
"""
