"""Answers that many brokers give together: what came, and what did not. Plain frozen data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Generic, Protocol, TypeVar

from broker.protocol.lazy_dataclass import dataclass


class _Shown(Protocol):
    def to_json(self) -> dict[str, Any]: ...


Item_co = TypeVar("Item_co", bound=_Shown, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A part of an answer that is missing: where, what was asked, and why it did not come."""

    where: str
    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: no {self.what}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Gathered(Generic[Item_co]):
    """What brokers told, and what could not be found out; never one instead of the other."""

    items: tuple[Item_co, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.failures

    def __iter__(self) -> Iterator[Item_co]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def to_json(self) -> dict[str, Any]:
        """Plain data for output: `items` and `failures`."""
        return {
            "items": [item.to_json() for item in self.items],
            "failures": [failure.to_json() for failure in self.failures],
        }
