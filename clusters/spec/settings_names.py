"""Names of broker settings that logctl knows, to catch a mistyped one before a broker starts.

A name that is not here is passed on: the broker itself decides. Only a name that looks almost
like one of these is taken for a typing mistake.
"""

from __future__ import annotations

from clusters.nearest import nearest

# Set from other places of the cluster file; the text says where.
RESERVED: dict[str, str] = {
    "node.id": "hosts[].id",
    "broker.id": "hosts[].id",
    "process.roles": "hosts[].roles",
    "listeners": "listeners and hosts[].address",
    "advertised.listeners": "listeners and hosts[].address",
    "controller.listener.names": "listeners",
    "inter.broker.listener.name": "listeners",
    "controller.quorum.voters": "hosts",
    "controller.quorum.bootstrap.servers": "hosts",
    "log.dir": "paths.data",
    "log.dirs": "paths.data",
    "metadata.log.dir": "paths.data",
    "log.file": "paths.logs",
    "log.file.max.bytes": "run.log_max_size",
    "log.file.max.files": "run.log_max_files",
    "cluster.id": "cluster_id",
    "broker.rack": "hosts[].rack",
}

_NAMES = """
auto.create.topics.enable auto.leader.rebalance.enable background.threads
broker.heartbeat.interval.ms broker.session.timeout.ms compression.gzip.level
compression.lz4.level compression.type compression.zstd.level
connection.failed.authentication.delay.ms connections.max.idle.ms connections.max.reauth.ms
controlled.shutdown.enable controlled.shutdown.max.retries controlled.shutdown.retry.backoff.ms
controller.performance.always.log.threshold.ms controller.quorum.append.linger.ms
controller.quorum.election.backoff.max.ms controller.quorum.election.timeout.ms
controller.quorum.fetch.timeout.ms controller.quorum.request.timeout.ms
controller.quorum.retry.backoff.ms controller.socket.timeout.ms create.topic.policy.class.name
default.replication.factor delete.records.purgatory.purge.interval.requests delete.topic.enable
fetch.max.bytes fetch.purgatory.purge.interval.requests group.consumer.heartbeat.interval.ms
group.consumer.session.timeout.ms group.initial.rebalance.delay.ms group.max.session.timeout.ms
group.max.size group.min.session.timeout.ms initial.broker.registration.timeout.ms
leader.imbalance.check.interval.seconds leader.imbalance.per.broker.percentage
log.cleaner.backoff.ms log.cleaner.dedupe.buffer.size log.cleaner.delete.retention.ms
log.cleaner.enable log.cleaner.io.buffer.load.factor log.cleaner.io.buffer.size
log.cleaner.io.max.bytes.per.second log.cleaner.max.compaction.lag.ms
log.cleaner.min.cleanable.ratio log.cleaner.min.compaction.lag.ms log.cleaner.threads
log.cleanup.policy log.dir.failure.timeout.ms log.flush.interval.messages log.flush.interval.ms
log.flush.offset.checkpoint.interval.ms log.flush.policy log.flush.scheduler.interval.ms
log.flush.start.offset.checkpoint.interval.ms log.index.interval.bytes log.index.size.max.bytes
log.initial.task.delay.ms log.level log.message.timestamp.after.max.ms
log.message.timestamp.before.max.ms log.message.timestamp.type log.preallocate log.retention.bytes
log.retention.check.interval.ms log.retention.hours log.retention.minutes log.retention.ms
log.roll.hours log.roll.jitter.hours log.roll.jitter.ms log.roll.ms log.segment.bytes
log.segment.delete.delay.ms max.connection.creation.rate max.connections max.connections.per.ip
max.incremental.fetch.session.cache.slots message.max.bytes
metadata.log.max.record.bytes.between.snapshots metadata.log.max.snapshot.interval.ms
metadata.log.segment.bytes metadata.log.segment.ms metadata.max.idle.interval.ms
metadata.max.retention.bytes metadata.max.retention.ms metrics.host metrics.listeners metrics.port
min.insync.replicas num.io.threads num.network.threads num.partitions
num.recovery.threads.per.data.dir num.replica.fetchers offset.metadata.max.bytes
offsets.commit.timeout.ms offsets.load.buffer.size offsets.retention.check.interval.ms
offsets.retention.minutes offsets.topic.compression.codec offsets.topic.num.partitions
offsets.topic.replication.factor offsets.topic.segment.bytes
producer.id.expiration.check.interval.ms producer.id.expiration.ms
producer.purgatory.purge.interval.requests queued.max.request.bytes queued.max.requests
quota.window.num quota.window.size.seconds remote.log.storage.system.enable
replica.fetch.backoff.ms replica.fetch.max.bytes replica.fetch.min.bytes
replica.fetch.response.max.bytes replica.fetch.wait.max.ms
replica.high.watermark.checkpoint.interval.ms replica.lag.time.max.ms replica.selector.class
replica.socket.receive.buffer.bytes replica.socket.timeout.ms request.timeout.ms
socket.connection.setup.timeout.max.ms socket.connection.setup.timeout.ms
socket.listen.backlog.size socket.receive.buffer.bytes socket.request.max.bytes
socket.send.buffer.bytes transaction.abort.timed.out.transaction.cleanup.interval.ms
transaction.max.timeout.ms transaction.remove.expired.transaction.cleanup.interval.ms
transaction.state.log.load.buffer.size transaction.state.log.min.isr
transaction.state.log.num.partitions transaction.state.log.replication.factor
transaction.state.log.segment.bytes transactional.id.expiration.ms unclean.leader.election.enable
unclean.leader.election.interval.ms
"""
KNOWN: frozenset[str] = frozenset(_NAMES.split())

# Close enough that a second, unknown setting of such a similar name is unlikely.
TYPO_CUTOFF = 0.9


def mistyped(name: str) -> str | None:
    """The known name that `name` was probably meant to be, or None when it may be right."""
    if name in KNOWN or name in RESERVED:
        return None
    return nearest(name, KNOWN | RESERVED.keys(), cutoff=TYPO_CUTOFF)
