"""Runbooks: steps of commands, waits, assertions and questions, kept in YAML."""
