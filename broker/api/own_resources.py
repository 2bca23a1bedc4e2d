"""What a broker decides itself of a change of settings, before the controller sees the rest.

Its own loggers, and whether a broker's settings were sent to that broker: only it knows its file.
Everything else is the controller's. It must never forward what it refuses. What the controller
changed is answered once this broker knows it too, so that the client's next request finds it.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from broker.api.node import READ_YOUR_WRITES_MS, Node
from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.image import RESOURCE_BROKER, MetadataImage
from broker.protocol.struct import Struct
from broker.runtime.loggers import RESOURCE_LOGGER, LoggerRefused, alter_loggers
from broker.settings.changes import ConfigRefused, altered, replaced

Forward = Callable[[Struct], Awaitable[Struct]]
_Verdict = tuple[ErrorCode, str | None]
_UNKNOWN: _Verdict = (ErrorCode.unknown_server_error, None)


class _Refused(LogctlError):
    """One resource is refused here."""


async def alter_here_first(
    node: Node, request: Struct, forward: Forward, *, incremental: bool
) -> Struct:
    """A row per resource, in the request's order: ours, or the controller's from `forward`."""
    counts = Counter((r.resource_type, r.resource_name) for r in request.resources)
    verdicts: list[_Verdict | None] = []
    for resource in request.resources:
        if counts[resource.resource_type, resource.resource_name] > 1:
            verdicts.append((ErrorCode.invalid_request, "Each resource must appear at most once."))
            continue
        verdicts.append(_verdict(node, request, resource, incremental=incremental))
    rest = [
        resource
        for resource, verdict in zip(request.resources, verdicts, strict=True)
        if verdict is None
    ]
    decided: dict[tuple[int, str], _Verdict] = {}
    throttle_ms = 0
    if rest:
        response = await forward(request.replace(resources=rest))
        throttle_ms = response.get("throttle_time_ms", 0)
        decided = {
            (row.resource_type, row.resource_name): (row.error_code, row.error_message)
            for row in response.responses
        }
        if not request.validate_only:
            await _until_known(node, rest, decided, incremental=incremental)
    rows = []
    for resource, verdict in zip(request.resources, verdicts, strict=True):
        key = (resource.resource_type, resource.resource_name)
        code, message = verdict or decided.get(key, _UNKNOWN)
        rows.append(
            Struct(
                error_code=code,
                error_message=message,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
        )
    return Struct(throttle_time_ms=throttle_ms, responses=rows)


async def _until_known(
    node: Node,
    resources: Sequence[Struct],
    decided: Mapping[tuple[int, str], _Verdict],
    *,
    incremental: bool,
) -> None:
    changed = [
        resource
        for resource in resources
        if decided.get((resource.resource_type, resource.resource_name), _UNKNOWN)[0]
        == ErrorCode.none
    ]

    def known(image: MetadataImage) -> bool:
        return all(_is_made(image, resource, incremental=incremental) for resource in changed)

    if changed:
        await node.publisher.wait_until(known, READ_YOUR_WRITES_MS)


def _is_made(image: MetadataImage, resource: Struct, *, incremental: bool) -> bool:
    """Whether making a change once more would change nothing: each operation is so (KIP-339)."""
    current = image.config(resource.resource_type, resource.resource_name)
    try:
        if incremental:
            changes = [(c.name, c.config_operation, c.value) for c in resource.configs]
            return altered(resource.resource_type, current, changes) == current
        return replaced(resource.resource_type, [(c.name, c.value) for c in resource.configs]) == (
            current
        )
    except ConfigRefused:
        # Others changed what it rests on since the controller decided; nothing is to be seen.
        return True


def _verdict(
    node: Node, request: Struct, resource: Struct, *, incremental: bool
) -> _Verdict | None:
    try:
        if resource.resource_type == RESOURCE_LOGGER and incremental:
            _check_node(node, resource.resource_name, "Unexpected node id. Expected")
            alter_loggers(
                [(c.name, c.config_operation, c.value) for c in resource.configs],
                check_only=request.validate_only,
            )
            return ErrorCode.none, None
        if resource.resource_type == RESOURCE_BROKER and resource.resource_name:
            _check_node(node, resource.resource_name, "Unexpected broker id, expected")
    except _Refused as refused:
        return ErrorCode.invalid_request, str(refused)
    except LoggerRefused as refused:
        return refused.code, str(refused)
    return None


def _check_node(node: Node, name: str, words: str) -> None:
    try:
        node_id = int(name)
    except ValueError:
        raise _Refused(f"Node id must be an integer, but it is: {name}") from None
    if node_id != node.config.node_id:
        raise _Refused(f"{words} {node.config.node_id}, but received {name}")
