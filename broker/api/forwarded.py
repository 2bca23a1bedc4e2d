"""Requests that only the active controller can decide.

On a controller listener they are handed to this node's controller, which answers NOT_CONTROLLER
when it is not the active one. On a broker listener they are forwarded. Changes nothing in
between.
"""

from collections.abc import Callable

from broker.api.node import Node
from broker.api.registry import BROKER, CONTROLLER, Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, RequestTimedOut, WireError
from broker.protocol.struct import Struct

DEFAULT_TIMEOUT_MS = 30_000
TIMEOUT_MS_MIN = 1_000
TIMEOUT_MS_MAX = 300_000

# Builds the response that says the same error for everything that was asked.
Failure = Callable[[Struct, ErrorCode, str], Struct]


async def decide(node: Node, context: RequestContext, request: Struct, failure: Failure) -> Struct:
    """The controller's answer, or `failure(request, code, message)` when there is none in time."""
    if context.role == CONTROLLER:
        assert node.controller is not None
        return await node.controller.handle(
            context.api_key, context.api_version, request, context.connection
        )
    asked_ms = request.get("timeout_ms", DEFAULT_TIMEOUT_MS)
    timeout_ms = min(max(asked_ms, TIMEOUT_MS_MIN), TIMEOUT_MS_MAX)
    try:
        return await node.ask_controller(context.api_key, request, timeout_ms)
    except RequestTimedOut as error:
        return failure(request, ErrorCode.request_timed_out, str(error))
    except WireError as error:
        return failure(request, ErrorCode.unknown_server_error, str(error))


async def _controller_only(node: Node, context: RequestContext, request: Struct) -> Reply:
    assert node.controller is not None
    return await node.controller.handle(
        context.api_key, context.api_version, request, context.connection
    )


async def _quorum_only(node: Node, context: RequestContext, request: Struct) -> Reply:
    return await node.quorum.handle(context.api_key, context.api_version, request)


def controller_api(key: ApiKey, min_version: int, max_version: int) -> Api:
    """An API of controller listeners that the controller answers as it stands."""
    return Api(
        key=key,
        min_version=min_version,
        max_version=max_version,
        handler=_controller_only,
        listeners=frozenset({CONTROLLER}),
    )


def quorum_api(key: ApiKey, min_version: int, max_version: int) -> Api:
    """An API of controller listeners that the metadata quorum answers as it stands."""
    return Api(
        key=key,
        min_version=min_version,
        max_version=max_version,
        handler=_quorum_only,
        listeners=frozenset({CONTROLLER}),
    )


BOTH = frozenset({BROKER, CONTROLLER})
