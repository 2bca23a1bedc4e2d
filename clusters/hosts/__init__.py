"""Connections to the machines that brokers run on."""
