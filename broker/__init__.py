"""logd: an asyncio broker that speaks the Apache Kafka wire protocol. Imports no other package."""
