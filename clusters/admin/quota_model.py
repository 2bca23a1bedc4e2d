"""Quotas of clients (KIP-13, KIP-546, KIP-612): who is limited, and to what. Frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.protocol.lazy_dataclass import dataclass

# Who a quota is for: parts of an entity by type; None for the name means: the default.
Entity = tuple[tuple[str, str | None], ...]

ENTITY_TYPES = ("user", "client-id", "ip")
DEFAULT = "<default>"
# What each limit means, and which are whole numbers.
LIMITS: Mapping[str, str] = {
    "producer_byte_rate": "bytes a second written, on each broker",
    "consumer_byte_rate": "bytes a second read, on each broker",
    "request_percentage": "percent of a thread's time for requests, on each broker",
    "controller_mutation_rate": "partitions created or deleted a second",
    "connection_creation_rate": "new connections a second from an address, on each broker",
}
SIZES = frozenset({"producer_byte_rate", "consumer_byte_rate"})
WHOLE = SIZES | {"connection_creation_rate"}
IP_LIMITS = frozenset({"connection_creation_rate"})


def entity(parts: Mapping[str, str | None]) -> Entity:
    """Who is meant: of user and client-id one or both, or ip alone. Raises ValueError."""
    unknown = [key for key in parts if key not in ENTITY_TYPES]
    if unknown:
        raise ValueError(f"a quota is for {', '.join(ENTITY_TYPES)}, not {unknown[0]}")
    if not parts:
        raise ValueError("a quota is for a user, a client-id or an ip")
    if "ip" in parts and len(parts) > 1:
        raise ValueError("a quota for an ip has no user and no client-id")
    if any(name == "" for name in parts.values()):
        raise ValueError("a name is not empty")
    return tuple((kind, parts[kind]) for kind in ENTITY_TYPES if kind in parts)


def limits_of(who: Entity) -> tuple[str, ...]:
    """The limits that can be set for such an entity."""
    by_ip = who[0][0] == "ip"
    return tuple(name for name in LIMITS if (name in IP_LIMITS) == by_ip)


def entity_text(who: Entity) -> str:
    """Who it is, for the reader."""
    return ", ".join(f"{kind} {DEFAULT if name is None else name}" for kind, name in who)


def limit_value(name: str, value: object) -> float:
    """A limit's number; byte rates take units (10MiB). Raises ValueError with the way out."""
    from clusters.units import parse_size_bytes

    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number")
    try:
        number = float(value)
    except ValueError:
        if name not in SIZES:
            raise ValueError(f'"{value}" is not a number') from None
        number = float(parse_size_bytes(str(value)))
    except OverflowError:
        raise ValueError("is out of range") from None
    if not 0 < number < 2**63:
        raise ValueError(f"{value} is out of range; a limit is greater than 0")
    if name in WHOLE and number != int(number):
        raise ValueError(f"{number:g} must be a whole number")
    return number


def shown_number(value: float) -> str:
    """A limit as people write it: without a fraction that is none."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**63 else repr(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientQuota:
    """The limits of an entity, by name."""

    entity: Entity
    limits: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain data for output; a name that is null is the default."""
        return {"entity": dict(self.entity), "limits": dict(sorted(self.limits.items()))}
