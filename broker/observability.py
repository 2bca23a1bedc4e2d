"""What the broker says about itself: JSON log lines, and metrics for Prometheus when asked for.

A log line is one JSON object: ts, level, logger, message, fields. Nothing secret is logged: no
record contents, no credentials. The metrics endpoint is off unless `metrics.port` is set.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO, cast

from broker.protocol.api_keys import ApiKey

if TYPE_CHECKING:
    from broker.runtime.replicas import ReplicaManager
    from broker.server import Broker

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object per line; what was passed as `extra` stands in `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if fields:
            line["fields"] = fields
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logging(
    level: str, stream: TextIO | None = None, *, handler: logging.Handler | None = None
) -> None:
    """Send every log line of the process to `handler`, or to `stream` (stderr), as JSON."""
    handler = handler or logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel("WARNING")


class Counters:
    """Plain numbers that the connections add to; read when metrics are scraped."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "connections_by_listener",
        "connections_opened",
        "elapsed_ms_by_api",
        "requests_by_api",
    )

    def __init__(self) -> None:
        self.connections_opened = 0
        self.connections_by_listener: dict[str, int] = {}
        self.bytes_in = 0
        self.bytes_out = 0
        self.requests_by_api: dict[int, int] = {}
        self.elapsed_ms_by_api: dict[int, int] = {}

    def opened(self, listener: str) -> None:
        """A connection came."""
        self.connections_opened += 1
        self.connections_by_listener[listener] = self.connections_by_listener.get(listener, 0) + 1

    def closed(self, listener: str) -> None:
        """A connection went."""
        self.connections_by_listener[listener] -= 1

    def received(self, size_bytes: int) -> None:
        """Bytes came in."""
        self.bytes_in += size_bytes

    def answered(self, api_key: int, elapsed_ms: int, size_bytes: int) -> None:
        """A request was served."""
        self.requests_by_api[api_key] = self.requests_by_api.get(api_key, 0) + 1
        self.elapsed_ms_by_api[api_key] = self.elapsed_ms_by_api.get(api_key, 0) + elapsed_ms
        self.bytes_out += size_bytes


Sample = tuple[dict[str, str], float]


def samples(broker: "Broker") -> Iterator[tuple[str, str, str, list[Sample]]]:
    """Every metric as (name, kind, help, samples)."""
    counters = broker.counters

    def one(value: float) -> list[Sample]:
        return [({}, float(value))]

    yield (
        "logd_connections",
        "gauge",
        "Open connections.",
        [
            ({"listener": name}, float(count))
            for name, count in sorted(counters.connections_by_listener.items())
        ],
    )
    yield (
        "logd_connections_opened",
        "counter",
        "Connections accepted.",
        one(counters.connections_opened),
    )
    yield "logd_received_bytes", "counter", "Bytes received.", one(counters.bytes_in)
    yield "logd_sent_bytes", "counter", "Bytes of responses.", one(counters.bytes_out)
    yield (
        "logd_requests",
        "counter",
        "Requests answered.",
        [
            ({"api": ApiKey(key).name.lower()}, float(count))
            for key, count in sorted(counters.requests_by_api.items())
        ],
    )
    yield (
        "logd_request_seconds",
        "counter",
        "Time from request to response.",
        [
            ({"api": ApiKey(key).name.lower()}, elapsed_ms / 1000)
            for key, elapsed_ms in sorted(counters.elapsed_ms_by_api.items())
        ],
    )
    image = broker.publisher.image
    offline = sum(1 for _, _, state in image.iter_partitions() if state.leader < 0)
    yield (
        "logd_partitions_leaderless",
        "gauge",
        "Partitions of the cluster without leader.",
        one(offline),
    )
    yield "logd_metadata_offset", "gauge", "Last applied metadata offset.", one(image.offset)
    quorum = broker.quorum
    yield "logd_quorum_epoch", "gauge", "Epoch of the metadata quorum.", one(quorum.leader.epoch)
    yield "logd_quorum_is_leader", "gauge", "1 on the active controller.", one(quorum.is_leader)


def replica_samples(replicas: "ReplicaManager") -> Iterator[tuple[str, str, str, list[Sample]]]:
    """The metrics of a broker's partitions, in the same form."""
    gauges, counters = replicas.gauges(), replicas.counters
    for kind, name, text, value in (
        ("gauge", "partitions", "Replicas held here.", gauges.partitions),
        ("gauge", "partitions_led", "Partitions led here.", gauges.leaders),
        ("gauge", "partitions_under_replicated", "Led, ISR is short.", gauges.under_replicated),
        ("gauge", "partitions_under_min_isr", "Led, below min ISR.", gauges.under_min_isr),
        ("gauge", "partitions_offline", "Held here, log unusable.", gauges.offline),
        ("counter", "records_in", "Records from producers.", counters.messages_in),
        ("counter", "records_in_bytes", "Bytes from producers.", counters.bytes_in),
        ("counter", "records_out_bytes", "Bytes to consumers.", counters.bytes_out),
        ("counter", "replication_in_bytes", "Bytes from leaders.", counters.replication_bytes_in),
        ("counter", "replication_out_bytes", "Bytes to followers.", counters.replication_bytes_out),
        ("counter", "produce_failed", "Refused batches.", counters.produce_requests_failed),
        ("counter", "fetch_failed", "Failed fetches.", counters.fetch_requests_failed),
        ("counter", "isr_shrinks", "ISR shrinks of led partitions.", counters.isr_shrinks),
        ("counter", "isr_expands", "ISR expansions of led partitions.", counters.isr_expands),
        ("counter", "leaderships_taken", "Times it became leader.", counters.leader_elections),
        ("counter", "truncations", "Truncations of followed logs.", counters.truncations),
        ("counter", "flushes", "Logs flushed to disk.", counters.flushes),
        ("counter", "compactions", "Rounds of compaction.", counters.compactions),
        ("counter", "compacted_bytes", "Bytes freed by compaction.", counters.compacted_bytes),
    ):
        yield f"logd_{name}", kind, text, [({}, float(value))]


class _Collector:
    def __init__(self, broker: "Broker") -> None:
        self._broker = broker

    def collect(self) -> Iterable[Any]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        families: dict[str, Callable[..., Any]] = {
            "gauge": GaugeMetricFamily,
            "counter": CounterMetricFamily,
        }
        broker = self._broker
        found = list(samples(broker))
        if broker.replicas is not None:
            found += replica_samples(broker.replicas)
        for name, kind, text, values in found:
            labels = sorted(values[0][0]) if values else []
            family = families[kind](name, text, labels=labels)
            for given, value in values:
                family.add_metric([given[label] for label in labels], value)
            yield family


def metrics_factory(broker: "Broker") -> Callable[[], asyncio.Protocol]:
    """Connections of the metrics endpoint: GET /metrics, everything else is 404."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(broker))
    ProcessCollector(registry=registry)
    return lambda: _MetricsConnection(lambda: generate_latest(registry))


class _MetricsConnection(asyncio.Protocol):
    """The least HTTP that Prometheus needs: one request, one answer, close."""

    _REQUEST_BYTES_MAX = 16 * 1024

    def __init__(self, render: Callable[[], bytes]) -> None:
        self._render = render
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop has transports of its own, so no isinstance here.
        self._transport = transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._received += data
        if b"\r\n\r\n" not in self._received:
            if len(self._received) > self._REQUEST_BYTES_MAX:
                self._transport.abort()
            return
        words = self._received.split(b"\r\n", 1)[0].split(b" ")
        if len(words) == 3 and words[0] == b"GET" and words[1].split(b"?")[0] == b"/metrics":
            status, body = b"200 OK", self._render()
        else:
            status, body = b"404 Not Found", b"only GET /metrics is served\n"
        self._transport.write(
            b"HTTP/1.1 " + status + b"\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8"
            b"\r\nConnection: close\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n"
        )
        self._transport.write(body)
        self._transport.close()
