// kafkajs behind lines of JSON: what tests/interop/drivers.py asks, it does and answers.
//
// A request is {"id": N, "do": VERB, ...}; its answer {"id": N, "ok": ...} or {"id": N, "error": {"name", "text"}}.
// Members of groups and producers under load tell what happens to them in lines of their own. Requests run side by
// side. It must never change the client's behaviour beyond its public settings and its plugins for compression.
'use strict'

const readline = require('readline')
const { once } = require('events')
const {
  Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, AssignerProtocol, PartitionAssigners, logLevel,
} = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const zstd = require('@mongodb-js/zstd')

const WAIT_MS = 60000
const BATCH_BYTES = 500000
const TYPES = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}
// kafkajs brings gzip; the others are plugins by its design.
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4.compressFrame(encoder.buffer),
  decompress: async buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => zstd.compress(encoder.buffer),
  decompress: async buffer => zstd.decompress(buffer),
})

const say = line => process.stdout.write(JSON.stringify(line) + '\n')
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const bytes = text => (text === null ? null : Buffer.from(text, 'base64'))
const text = buffer => (buffer === null || buffer === undefined ? null : Buffer.from(buffer).toString('base64'))

function kafkaTo (asked, retry = { retries: 30, initialRetryTime: 50, maxRetryTime: 500 }) {
  return new Kafka({
    clientId: 'kafkajs', brokers: asked.bootstrap.split(','), logLevel: logLevel.NOTHING,
    requestTimeout: 30000, connectionTimeout: 15000, retry,
  })
}

// -- records

function headersOf (pairs) {
  const headers = {}
  for (const [name, value] of pairs) (headers[name] ||= []).push(bytes(value))
  return headers
}

function pairsOf (headers) {
  const pairs = []
  for (const [name, found] of Object.entries(headers || {})) {
    for (const value of Array.isArray(found) ? found : [found]) pairs.push([name, text(value)])
  }
  return pairs
}

// All messages of one send become one batch, however large.
function batchesOf (messages) {
  const batches = [[]]
  let size = 0
  for (const message of messages) {
    const own = (message.key || '').length + (message.value || '').length
    if (size > 0 && size + own > BATCH_BYTES) {
      batches.push([])
      size = 0
    }
    batches.at(-1).push(message)
    size += own
  }
  return batches
}

async function produce (asked) {
  const producer = kafkaTo(asked).producer({
    idempotent: asked.idempotent, allowAutoTopicCreation: true, maxInFlightRequests: 1,
  })
  await producer.connect()
  try {
    const messages = asked.rows.map(row => ({
      key: bytes(row.k), value: bytes(row.v), headers: headersOf(row.h),
      timestamp: String(row.t), partition: asked.partition,
    }))
    const found = []
    for (const batch of batchesOf(messages)) {
      const answers = await producer.send({
        topic: asked.topic, messages: batch, acks: asked.acks, compression: TYPES[asked.compression],
      })
      // It tells the first offset of the batch alone; without acknowledgements nothing.
      const first = answers.length && answers[0].baseOffset !== undefined ? Number(answers[0].baseOffset) : -1
      found.push(...batch.map((_, place) => (first < 0 ? -1 : first + place)))
    }
    return found
  } finally {
    await producer.disconnect()
  }
}

async function beginTransaction (asked) {
  const producer = kafkaTo(asked).producer({ transactionalId: asked.name, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  try {
    await (await producer.transaction()).abort()
  } finally {
    await producer.disconnect()
  }
}

// It has no reading without a group: a group of its own whose only member takes the one partition.
const onlyPartition = partition => ({ cluster }) => ({
  name: 'only',
  version: 1,
  async assign ({ members, topics }) {
    await cluster.connect()
    return members.map(({ memberId }) => ({
      memberId,
      memberAssignment: AssignerProtocol.MemberAssignment.encode({
        version: 1, assignment: { [topics[0]]: [partition] }, userData: Buffer.alloc(0),
      }),
    }))
  },
  protocol ({ topics }) {
    return {
      name: 'only',
      metadata: AssignerProtocol.MemberMetadata.encode({ version: 1, topics, userData: Buffer.alloc(0) }),
    }
  },
})

let readings = 0

async function consume (asked) {
  const groupId = `kafkajs-reading-${process.pid}-${++readings}`
  const consumer = kafkaTo(asked).consumer({
    groupId, maxWaitTimeInMs: 100, partitionAssigners: [onlyPartition(asked.partition)],
  })
  const found = []
  let failure = null
  await consumer.connect()
  try {
    await consumer.subscribe({ topics: [asked.topic], fromBeginning: true })
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) failure = payload.error
    })
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ message }) => {
        if (found.length < asked.count && Number(message.offset) >= asked.start) {
          found.push({
            o: Number(message.offset), k: text(message.key), v: text(message.value),
            h: pairsOf(message.headers), t: Number(message.timestamp),
          })
        }
      },
    })
    consumer.seek({ topic: asked.topic, partition: asked.partition, offset: String(asked.start) })
    const limit = Date.now() + WAIT_MS
    while (found.length < asked.count && Date.now() < limit && failure === null) await sleep(5)
    if (failure !== null) throw failure
  } finally {
    await consumer.disconnect()
  }
  return found
}

// -- administration

async function withAdmin (asked, act) {
  const admin = kafkaTo(asked, { retries: 10, initialRetryTime: 50, maxRetryTime: 500 }).admin()
  await admin.connect()
  try {
    return await act(admin)
  } finally {
    await admin.disconnect()
  }
}

const entries = configs => Object.entries(configs).map(([name, value]) => ({ name, value }))
const ofPartition = (list, partition) => list.find(each => each.partition === partition)

async function offsets (asked) {
  return withAdmin(asked, async admin => {
    const ends = ofPartition(await admin.fetchTopicOffsets(asked.topic), asked.partition)
    const found = []
    for (const time of asked.times) {
      const { offset } = ofPartition(await admin.fetchTopicOffsetsByTimestamp(asked.topic, time), asked.partition)
      // Where there is none, it answers the end.
      found.push(offset === ends.high ? null : Number(offset))
    }
    return { low: Number(ends.low), high: Number(ends.high), found }
  })
}

const partitionsOf = member => {
  if (!member.memberAssignment.length) return []
  const { assignment } = AssignerProtocol.MemberAssignment.decode(member.memberAssignment)
  return Object.values(assignment).flat().sort((a, b) => a - b)
}

const ADMIN = {
  async create_topic (admin, asked) {
    const topic = {
      topic: asked.topic, numPartitions: asked.partitions, replicationFactor: asked.replication,
      configEntries: entries(asked.configs),
    }
    if (!await admin.createTopics({ topics: [topic] })) throw new Error('the topic already exists')
  },
  delete_topic: (admin, asked) => admin.deleteTopics({ topics: [asked.topic] }),
  list_topics: admin => admin.listTopics(),
  async describe_topic (admin, asked) {
    const { topics } = await admin.fetchTopicMetadata({ topics: [asked.topic] })
    return topics[0].partitions
      .sort((a, b) => a.partitionId - b.partitionId)
      .map(each => ({ leader: each.leader, replicas: each.replicas, isr: each.isr }))
  },
  async add_partitions (admin, asked) {
    await admin.createPartitions({ topicPartitions: [{ topic: asked.topic, count: asked.total }] })
  },
  async alter_topic (admin, asked) {
    const resource = { type: ConfigResourceTypes.TOPIC, name: asked.topic, configEntries: entries(asked.configs) }
    await admin.alterConfigs({ validateOnly: false, resources: [resource] })
  },
  async topic_config (admin, asked) {
    const resource = { type: ConfigResourceTypes.TOPIC, name: asked.topic, configNames: [asked.name] }
    const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [resource] })
    return resources[0].configEntries[0].configValue
  },
  async delete_records (admin, asked) {
    const partition = { partition: asked.partition, offset: String(asked.offset) }
    await admin.fetchTopicOffsets(asked.topic) // it must know of a topic before it changes its records
    await admin.deleteTopicRecords({ topic: asked.topic, partitions: [partition] })
    return Number(ofPartition(await admin.fetchTopicOffsets(asked.topic), asked.partition).low)
  },
  async cluster (admin) {
    const found = await admin.describeCluster()
    return { id: found.clusterId, controller: found.controller, brokers: found.brokers.map(each => each.nodeId) }
  },
  async groups (admin) {
    return (await admin.listGroups()).groups.map(each => each.groupId)
  },
  async describe_group (admin, asked) {
    const [group] = (await admin.describeGroups([asked.group])).groups
    const members = group.members.map(each => ({ client: each.clientId, partitions: partitionsOf(each) }))
    return { state: group.state, members }
  },
  async committed (admin, asked) {
    const found = {}
    for (const { topic, partitions } of await admin.fetchOffsets({ groupId: asked.group })) {
      if (topic !== asked.topic) continue
      for (const each of partitions) found[each.partition] = Number(each.offset)
    }
    return found
  },
  delete_group: (admin, asked) => admin.deleteGroups([asked.group]),
}

// -- members of groups

const members = new Map()

async function join (asked) {
  const consumer = kafkaTo(asked).consumer({
    groupId: asked.group, sessionTimeout: asked.session_ms, heartbeatInterval: asked.heartbeat_ms,
    rebalanceTimeout: 30000, maxWaitTimeInMs: 100, metadataMaxAge: 2000,
    partitionAssigners: [PartitionAssigners.roundRobin],
  })
  const member = asked.member
  members.set(member, consumer)
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    say({ member, assigned: payload.memberAssignment[asked.topic] || [], given: true })
  })
  consumer.on(consumer.events.REBALANCING, () => say({ member, assigned: [], given: false }))
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    if (!payload.restart) say({ member, failed: String(payload.error) })
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [asked.topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat, isRunning, isStale, commitOffsetsIfNecessary, uncommittedOffsets }) => {
      if (!isRunning() || isStale()) return
      say({ member, seen: batch.messages.map(each => [batch.partition, Number(each.offset)]) })
      for (const each of batch.messages) resolveOffset(each.offset)
      await commitOffsetsIfNecessary(uncommittedOffsets())
      await heartbeat()
    },
  })
}

async function leave (asked) {
  const consumer = members.get(asked.member)
  members.delete(asked.member)
  await consumer.disconnect()
}

// -- load

const loads = new Map()

async function beginLoad (asked) {
  const load = {
    ended: false, sent: new Array(asked.partitions).fill(0), answered: new Array(asked.partitions).fill(0),
  }
  loads.set(asked.load, load)
  // It requires retries without end of an idempotent producer.
  const retry = { retries: Number.MAX_SAFE_INTEGER, initialRetryTime: 50, maxRetryTime: 500 }
  const producer = kafkaTo(asked, retry).producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  load.run = runLoad(asked, load, producer).catch(error => say({ load: asked.load, failed: String(error) }))
}

// One batch at a time for each partition, so that one without a leader does not silence the others.
async function runLoad (asked, load, producer) {
  const one = async partition => {
    while (!load.ended) {
      const turns = Array.from({ length: 5 }, () => load.sent[partition]++)
      const messages = turns.map(turn => ({
        partition, value: `${asked.name}:${partition}:${turn} ${'.'.repeat(80)}`,
      }))
      try {
        const [answer] = await producer.send({ topic: asked.topic, messages, acks: -1 })
        const first = Number(answer.baseOffset)
        say({ load: asked.load, acknowledged: turns.map((turn, place) => [partition, turn, first + place]) })
      } catch (error) {
        for (const turn of turns) say({ load: asked.load, refused: [partition, turn, String(error)] })
      }
      await sleep(asked.pause_ms)
    }
  }
  await Promise.all(load.sent.map((_, partition) => one(partition)))
  await producer.disconnect()
}

async function endLoad (asked) {
  const load = loads.get(asked.load)
  loads.delete(asked.load)
  load.ended = true
  await load.run
  return load.sent
}

// -- requests

const VERBS = {
  version: async () => ({ client: 'kafkajs', version: require('kafkajs/package.json').version }),
  produce, consume, offsets, join, leave, load: beginLoad, end_load: endLoad,
  begin_transaction: beginTransaction,
}

async function perform (asked) {
  if (VERBS[asked.do]) return VERBS[asked.do](asked)
  if (ADMIN[asked.do]) return withAdmin(asked, admin => ADMIN[asked.do](admin, asked))
  throw new Error(`no such verb: ${asked.do}`)
}

function explain (error) {
  // The errors of several topics come bundled; the first one says what happened.
  const [group] = error.groups || []
  const first = error.errors && error.errors.length ? error.errors[0] : (group && group.error) || error
  const cause = first.cause && first.cause.type ? first.cause : first
  return { name: cause.type || first.name, text: `${cause.type || ''} ${first.message}`.trim() }
}

async function main () {
  const lines = readline.createInterface({ input: process.stdin, crlfDelay: Infinity })
  lines.on('line', line => {
    const asked = JSON.parse(line)
    perform(asked).then(
      ok => say({ id: asked.id, ok: ok === undefined ? null : ok }),
      error => say({ id: asked.id, error: explain(error) }),
    )
  })
  await once(lines, 'close')
  process.exit(0) // the end of input is the end of everything, whatever still runs
}

main()
