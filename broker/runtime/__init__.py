"""The async shells around the pure cores. All I/O enters through the doors handed in."""
