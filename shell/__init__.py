"""logctl: the command line, the interactive shell and the runner."""
