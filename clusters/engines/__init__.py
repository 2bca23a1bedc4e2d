"""What to ship, configure and start for each kind of broker."""
