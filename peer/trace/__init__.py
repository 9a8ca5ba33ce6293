"""Traces: what one agent was given, in order, so that the same agent can be driven again.

    watch      the agent with a note taken of every input and of what came of it
    outline    what came of it, short enough to be kept and exact enough to be compared
    values     any state of an agent as bytes and back
    records    records in a file, each with a check of its own
    files      the files of one trace: bounded, the first kept, two more in turn
    origins    from the beginning of a file to a fresh agent
    replay     the inputs once more, and where they lead elsewhere
    story      what happened to one peer, one message or one hyperparameter

A file holds what came from the network, and the agent's own state where it begins in the middle: no samples.
The problem is made again from the name of its task.
"""
