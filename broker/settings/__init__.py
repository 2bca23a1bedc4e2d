"""Definitions of every topic and broker setting, by its name in Apache Kafka."""
