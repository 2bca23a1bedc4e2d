"""Repeatable measurements, side by side with Apache Kafka where its jars are present."""
