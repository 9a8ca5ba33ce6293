"""The live page of an agent, or of all agents of a program."""
