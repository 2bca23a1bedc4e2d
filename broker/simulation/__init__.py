"""The whole broker on virtual time: loop, network, disk, world and checkers."""
