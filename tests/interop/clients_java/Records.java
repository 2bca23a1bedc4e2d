// Records written and read by assignment, with every byte of them.

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

final class Records {
    private static final Base64.Decoder DECODE = Base64.getDecoder();
    private static final Base64.Encoder ENCODE = Base64.getEncoder();

    private Records() {}

    static KafkaProducer<byte[], byte[]> producer(Properties settings) {
        settings.put("key.serializer", ByteArraySerializer.class);
        settings.put("value.serializer", ByteArraySerializer.class);
        return new KafkaProducer<>(settings);
    }

    static KafkaConsumer<byte[], byte[]> consumer(Properties settings) {
        settings.put("key.deserializer", ByteArrayDeserializer.class);
        settings.put("value.deserializer", ByteArrayDeserializer.class);
        settings.put("enable.auto.commit", "false");
        // It waits at its end for the fetch under way.
        settings.put("fetch.max.wait.ms", 50);
        return new KafkaConsumer<>(settings);
    }

    static Properties to(JsonNode asked) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", asked.get("bootstrap").asText());
        return settings;
    }

    private static byte[] bytes(JsonNode node) {
        return node.isNull() ? null : DECODE.decode(node.asText());
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : ENCODE.encodeToString(bytes);
    }

    static Object beginTransaction(JsonNode asked) {
        Properties settings = to(asked);
        settings.put("transactional.id", asked.get("name").asText());
        settings.put("max.block.ms", 1000 * Driver.WAIT_SECONDS);
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            producer.initTransactions();
        }
        return null;
    }

    static List<Long> produce(JsonNode asked) throws Exception {
        Properties settings = to(asked);
        int acks = asked.get("acks").asInt();
        settings.put("acks", acks == -1 ? "all" : String.valueOf(acks));
        settings.put("enable.idempotence", asked.get("idempotent").asText());
        settings.put("compression.type", asked.get("compression").asText());
        settings.put("max.request.size", asked.get("max_bytes").asInt());
        settings.put("linger.ms", 10);
        String topic = asked.get("topic").asText();
        int partition = asked.get("partition").asInt();
        List<Future<RecordMetadata>> pending = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            for (JsonNode row : asked.get("rows")) {
                List<Header> headers = new ArrayList<>();
                for (JsonNode header : row.get("h")) {
                    headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
                }
                pending.add(producer.send(new ProducerRecord<>(
                        topic, partition, row.get("t").asLong(),
                        bytes(row.get("k")), bytes(row.get("v")), headers)));
            }
            List<Long> offsets = new ArrayList<>();
            for (Future<RecordMetadata> each : pending) {
                offsets.add(each.get(Driver.WAIT_SECONDS, TimeUnit.SECONDS).offset());
            }
            return offsets;
        }
    }

    static List<Object> consume(JsonNode asked) {
        TopicPartition place =
                new TopicPartition(asked.get("topic").asText(), asked.get("partition").asInt());
        int count = asked.get("count").asInt();
        List<Object> found = new ArrayList<>();
        long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(Driver.WAIT_SECONDS);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(to(asked))) {
            consumer.assign(List.of(place));
            consumer.seek(place, asked.get("start").asLong());
            while (found.size() < count && System.nanoTime() < limit) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    if (found.size() == count) {
                        break;
                    }
                    List<Object> headers = new ArrayList<>();
                    for (Header header : record.headers()) {
                        List<Object> pair = new ArrayList<>();
                        pair.add(header.key());
                        pair.add(text(header.value()));
                        headers.add(pair);
                    }
                    found.add(Driver.map(
                            "o", record.offset(), "k", text(record.key()),
                            "v", text(record.value()), "h", headers, "t", record.timestamp()));
                }
            }
        }
        return found;
    }

    static Map<String, Object> offsets(JsonNode asked) {
        TopicPartition place =
                new TopicPartition(asked.get("topic").asText(), asked.get("partition").asInt());
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(to(asked))) {
            long low = consumer.beginningOffsets(List.of(place)).get(place);
            long high = consumer.endOffsets(List.of(place)).get(place);
            List<Long> found = new ArrayList<>();
            for (JsonNode time : asked.get("times")) {
                OffsetAndTimestamp answer =
                        consumer.offsetsForTimes(Map.of(place, time.asLong())).get(place);
                found.add(answer == null ? null : answer.offset());
            }
            return Driver.map("low", low, "high", high, "found", found);
        }
    }
}
