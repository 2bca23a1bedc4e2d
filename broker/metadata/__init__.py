"""The pure controller: decides on records, replays them. It must never do I/O or read a clock."""
