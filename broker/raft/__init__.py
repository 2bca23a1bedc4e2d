"""The pure quorum core, after KRaft. It must never do I/O, read a clock or draw randomness."""
