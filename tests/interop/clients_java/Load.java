// An idempotent producer that writes with acks=all until it is told to stop, and tells what became of each record.

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

final class Load implements Runnable {
    private static final Map<Long, Load> LOADS = new ConcurrentHashMap<>();
    private final long number;
    private final String topic;
    private final String name;
    private final int partitions;
    private final int inFlightMax;
    private final long pauseMs;
    private final Properties settings;
    private final int[] sent;
    private final AtomicIntegerArray answered;
    private final List<Object> acknowledged = new ArrayList<>();
    private final Thread thread = new Thread(this);
    private volatile boolean ended;

    private Load(JsonNode asked) {
        number = asked.get("load").asLong();
        topic = asked.get("topic").asText();
        name = asked.get("name").asText();
        partitions = asked.get("partitions").asInt();
        inFlightMax = asked.get("in_flight").asInt();
        pauseMs = asked.get("pause_ms").asLong();
        sent = new int[partitions];
        answered = new AtomicIntegerArray(partitions);
        settings = Records.to(asked);
        settings.put("acks", "all");
        settings.put("enable.idempotence", "true");
        settings.put("linger.ms", 5);
        settings.put("delivery.timeout.ms", asked.get("delivery_ms").asInt());
        settings.put("max.block.ms", asked.get("delivery_ms").asInt());
    }

    static Object begin(JsonNode asked) {
        Load load = new Load(asked);
        LOADS.put(load.number, load);
        load.thread.setDaemon(true);
        load.thread.start();
        return null;
    }

    static Object end(JsonNode asked) throws Exception {
        Load load = LOADS.remove(asked.get("load").asLong());
        load.ended = true;
        load.thread.join(TimeUnit.SECONDS.toMillis(2 * Driver.WAIT_SECONDS));
        return load.sent;
    }

    @Override
    public void run() {
        try (KafkaProducer<byte[], byte[]> producer = Records.producer(settings)) {
            while (!ended) {
                for (int partition = 0; partition < partitions; partition++) {
                    if (sent[partition] - answered.get(partition) < inFlightMax) {
                        send(producer, partition, sent[partition]++);
                    }
                }
                tell();
                Thread.sleep(pauseMs);
            }
            producer.flush();
        } catch (Throwable error) {
            Driver.say(Driver.map("load", number, "failed", String.valueOf(Driver.cause(error))));
        }
        tell();
    }

    private void send(KafkaProducer<byte[], byte[]> producer, int partition, int turn) {
        String text = name + ":" + partition + ":" + turn + " " + ".".repeat(80);
        byte[] value = text.getBytes(StandardCharsets.UTF_8);
        producer.send(new ProducerRecord<>(topic, partition, null, value), (metadata, error) -> {
            answered.incrementAndGet(partition);
            if (error != null) {
                Driver.say(Driver.map(
                        "load", number, "refused", List.of(partition, turn, String.valueOf(error))));
            } else {
                synchronized (acknowledged) {
                    acknowledged.add(List.of(partition, turn, metadata.offset()));
                }
            }
        });
    }

    private void tell() {
        synchronized (acknowledged) {
            if (!acknowledged.isEmpty()) {
                Driver.say(Driver.map("load", number, "acknowledged", acknowledged));
                acknowledged.clear();
            }
        }
    }
}
