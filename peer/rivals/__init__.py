"""Methods that people would otherwise use, for all agents of a swarm at once, to compare with: a file each.

They are our own versions, after the papers that they name, of what those do at each agent and of what they
average. All of them average by push-sum, so that directed links that may be down bias none of them, and where
messages are lost silently by push-sum over running sums: more than their papers give them, and never less.
"""
