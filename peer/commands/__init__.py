"""One file per command: each has `main(options) -> exit code`."""
