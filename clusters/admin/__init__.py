"""Asyncio admin client on the Kafka protocol."""
