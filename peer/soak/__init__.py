"""The soak: the same agents for a long time, and whether anything about them grows or slows down.

measures    what is measured, slopes, verdicts
floats      vectors of plain floats: real rounding without torch
virtual     a simulated swarm that loses messages and restarts a member now and then
real        the same over real sockets
census      how many entries every table of the agents holds
process     what the operating system and the interpreter say of this process
"""
