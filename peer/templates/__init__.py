"""What `hyperpush init` writes: each module here is a task by itself, to be copied and changed."""
