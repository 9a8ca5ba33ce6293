"""Steps that tune themselves: what an agent measures of its task and its network, and what it makes of it.

curvature    how strongly the losses bend: power iteration, and along the swarm's own motion
mixing       how fast mere averaging brings agents together
rule         from both to step size and momentum
tuner        the agent's part: measures, tells the others, decides
"""
