"""Methods that people would otherwise use, for all agents of a swarm at once, to compare with: a file each.

They are our own versions, after the papers that they name, of what those do at each agent and of what they
average. All of them average by push-sum, which directed links that may be down do not bias, and where
messages are lost silently by push-sum over running sums, which their papers do not have. Where a method here
is not to the letter what its paper says, its docstring tells what it has instead.
"""
