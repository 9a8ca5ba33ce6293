"""Tasks as people have them, to read and to run: `hyperpush swarm --task tests/examples/NAME.py`."""
