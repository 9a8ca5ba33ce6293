"""A swarm whose agents are spread over several processes: of this machine, or of a Ray cluster.

spread      who is where; a crowd for `peer.swarm.run_swarm`
place       one process: hosts some of the agents; what it is told, and what it tells
crew        what processes of a swarm are, whatever runs them
processes   of this machine
ray_crew    actors of a Ray cluster
ray_pool    a Ray cluster that works off independent jobs
"""
