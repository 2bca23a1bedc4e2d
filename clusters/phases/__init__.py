"""The steps of a deployment, one file each."""
