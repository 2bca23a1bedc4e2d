"""What a cluster is, how it is deployed, administered and watched."""
