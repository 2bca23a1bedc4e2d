"""The cluster file: models and loader."""
