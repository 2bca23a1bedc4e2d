"""The table of served APIs: key, versions, listeners, handler.

Says what this broker speaks and finds the handler of a request; never handles one itself.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from broker.protocol.api_keys import ApiKey
from broker.protocol.primitives import Buffer
from broker.protocol.struct import Struct

if TYPE_CHECKING:
    from broker.api.node import Node

BROKER = "broker"
CONTROLLER = "controller"

# Struct: a body, to be encoded at the request's version. Bytes or buffers: a whole response frame,
# ready for the socket. None: nothing is sent.
Reply: TypeAlias = Struct | bytes | list[Buffer] | None
Handler: TypeAlias = Callable[["Node", "RequestContext", Struct], Awaitable[Reply]]
Decoder: TypeAlias = Callable[[int, bytes | memoryview, int], Struct]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """What surrounds one request: who asks, through which listener, at which version."""

    api_key: ApiKey
    api_version: int
    correlation_id: int
    client_id: str | None
    listener: str
    role: str
    peer: str
    connection: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One served API: versions `min_version..max_version` on the listeners of the named roles.

    `advertised_min` is what ApiVersions says when it must differ from what is accepted.
    `decode(version, frame, offset)` replaces the general codec on the hot path.
    """

    key: ApiKey
    min_version: int
    max_version: int
    handler: Handler
    listeners: frozenset[str] = frozenset({BROKER})
    advertised_min: int | None = None
    decode: Decoder | None = None

    def accepts(self, version: int) -> bool:
        """Whether a request of this version is served."""
        return self.min_version <= version <= self.max_version


@dataclass(slots=True)
class Registry:
    """Every served API, by key."""

    apis: dict[int, Api] = field(default_factory=dict)

    def add(self, api: Api) -> None:
        """Serve `api`; each key once."""
        assert api.key not in self.apis, f"{api.key.name} is registered twice"
        self.apis[api.key] = api

    def find(self, api_key: int, listener_role: str) -> Api | None:
        """The API of `api_key` when this kind of listener serves it."""
        api = self.apis.get(api_key)
        return api if api is not None and listener_role in api.listeners else None

    def versions(self, listener_role: str) -> Mapping[int, tuple[int, int]]:
        """What ApiVersions answers: {key: (min, max)} in key order."""
        return {
            key: (
                api.min_version if api.advertised_min is None else api.advertised_min,
                api.max_version,
            )
            for key, api in sorted(self.apis.items())
            if listener_role in api.listeners
        }


def build_registry(apis: Iterable[Api]) -> Registry:
    """A registry of `apis`."""
    registry = Registry()
    for api in apis:
        registry.add(api)
    return registry
