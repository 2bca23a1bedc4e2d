// A member of a consumer group, in a thread of its own: it polls, tells what it sees, and commits that.

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;

final class GroupMember implements Runnable, ConsumerRebalanceListener {
    private static final Map<Long, GroupMember> MEMBERS = new ConcurrentHashMap<>();
    private final long number;
    private final String topic;
    private final Properties settings;
    private final Thread thread = new Thread(this);
    private volatile boolean ended;
    private KafkaConsumer<byte[], byte[]> consumer;

    private GroupMember(JsonNode asked) {
        number = asked.get("member").asLong();
        topic = asked.get("topic").asText();
        settings = Records.to(asked);
        settings.put("group.id", asked.get("group").asText());
        settings.put("group.protocol", "classic");
        settings.put("auto.offset.reset", "earliest");
        settings.put("session.timeout.ms", asked.get("session_ms").asInt());
        settings.put("heartbeat.interval.ms", asked.get("heartbeat_ms").asInt());
        settings.put("metadata.max.age.ms", 2_000);
        if (asked.hasNonNull("instance")) {
            settings.put("group.instance.id", asked.get("instance").asText());
        }
        if (asked.hasNonNull("assignor")) {
            settings.put(
                    "partition.assignment.strategy",
                    "org.apache.kafka.clients.consumer." + asked.get("assignor").asText());
        }
    }

    static Object join(JsonNode asked) {
        GroupMember member = new GroupMember(asked);
        MEMBERS.put(member.number, member);
        member.thread.setDaemon(true);
        member.thread.start();
        return null;
    }

    static Object leave(JsonNode asked) throws Exception {
        GroupMember member = MEMBERS.remove(asked.get("member").asLong());
        member.ended = true;
        member.thread.join(TimeUnit.SECONDS.toMillis(Driver.WAIT_SECONDS));
        return null;
    }

    @Override
    public void run() {
        try {
            consumer = Records.consumer(settings);
            try {
                consumer.subscribe(List.of(topic), this);
                consumeUntilEnded();
            } finally {
                consumer.close();
            }
        } catch (Throwable error) {
            Driver.say(Driver.map("member", number, "failed", String.valueOf(Driver.cause(error))));
        }
    }

    private void consumeUntilEnded() {
        boolean uncommitted = false;
        while (!ended) {
            ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(100));
            if (!records.isEmpty()) {
                List<Object> seen = new ArrayList<>();
                for (ConsumerRecord<byte[], byte[]> each : records) {
                    seen.add(List.of(each.partition(), each.offset()));
                }
                Driver.say(Driver.map("member", number, "seen", seen));
                uncommitted = true;
            }
            if (uncommitted) {
                try {
                    consumer.commitSync(Duration.ofSeconds(10));
                    uncommitted = false;
                } catch (CommitFailedException | RetriableException error) {
                    // A rebalance made it void, or the coordinator is on its way; the next round tries again.
                }
            }
        }
    }

    private void tell(boolean given) {
        List<Integer> partitions = new ArrayList<>();
        consumer.assignment().forEach(each -> partitions.add(each.partition()));
        Driver.say(Driver.map("member", number, "assigned", partitions, "given", given));
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        tell(true);
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        List<Integer> left = new ArrayList<>();
        for (TopicPartition each : consumer.assignment()) {
            if (!partitions.contains(each)) {
                left.add(each.partition());
            }
        }
        Driver.say(Driver.map("member", number, "assigned", left, "given", false));
    }
}
