"""The personal model of an agent as a file that needs no hyperpush, one file here for each format.

facts        what a file says about itself
formats      which formats there are, what each needs, and by which endings of names they are known
checked      write, read back, compare with the agent's own outputs, and only then keep
"""
