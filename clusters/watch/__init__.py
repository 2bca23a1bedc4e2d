"""The live feed of cluster events."""
