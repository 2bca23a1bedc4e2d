"""The words of access rules, users and quotas that the command line completes.

Repeats those of the admin client, for help and parsing must not load it; a test holds them equal.
"""

from __future__ import annotations

RESOURCES = ("topic", "group", "cluster", "transactional-id", "delegation-token", "user")
OPERATIONS = (
    "all",
    "read",
    "write",
    "create",
    "delete",
    "alter",
    "describe",
    "cluster-action",
    "describe-configs",
    "alter-configs",
    "idempotent-write",
    "create-tokens",
    "describe-tokens",
    "two-phase-commit",
)
PERMISSIONS = ("allow", "deny")
PATTERNS = ("literal", "prefixed", "any", "match")
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")
LIMITS = (
    "producer_byte_rate",
    "consumer_byte_rate",
    "request_percentage",
    "controller_mutation_rate",
    "connection_creation_rate",
)
ENTITY_TYPES = ("user", "client-id", "ip")
