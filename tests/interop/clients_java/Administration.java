// What an operator does with Kafka's AdminClient: topics, settings, partitions, records, groups.

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;

final class Administration {
    private Administration() {}

    private static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(Driver.WAIT_SECONDS, TimeUnit.SECONDS);
    }

    private static Map<String, String> texts(JsonNode node) {
        Map<String, String> made = new HashMap<>();
        node.fields().forEachRemaining(each -> made.put(each.getKey(), each.getValue().asText()));
        return made;
    }

    private static List<Integer> ids(List<Node> nodes) {
        List<Integer> ids = new ArrayList<>();
        nodes.forEach(node -> ids.add(node.id()));
        return ids;
    }

    static Object perform(String verb, JsonNode asked) throws Exception {
        try (Admin admin = Admin.create(Records.to(asked))) {
            String topic = asked.has("topic") ? asked.get("topic").asText() : null;
            String group = asked.has("group") ? asked.get("group").asText() : null;
            switch (verb) {
                case "create_topic":
                    NewTopic made = new NewTopic(
                            topic,
                            Optional.of(asked.get("partitions").asInt()),
                            Optional.of((short) asked.get("replication").asInt()));
                    get(admin.createTopics(List.of(made.configs(texts(asked.get("configs"))))).all());
                    return null;
                case "delete_topic":
                    get(admin.deleteTopics(List.of(topic)).all());
                    return null;
                case "list_topics":
                    return get(admin.listTopics().names());
                case "describe_topic":
                    return describeTopic(admin, topic);
                case "add_partitions":
                    get(admin.createPartitions(
                            Map.of(topic, NewPartitions.increaseTo(asked.get("total").asInt()))).all());
                    return null;
                case "alter_topic":
                    return alterTopic(admin, topic, texts(asked.get("configs")));
                case "topic_config":
                    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
                    return get(admin.describeConfigs(List.of(resource)).all())
                            .get(resource).get(asked.get("name").asText()).value();
                case "delete_records":
                    TopicPartition place = new TopicPartition(topic, asked.get("partition").asInt());
                    return get(admin.deleteRecords(Map.of(
                            place, RecordsToDelete.beforeOffset(asked.get("offset").asLong())))
                            .lowWatermarks().get(place)).lowWatermark();
                case "cluster":
                    DescribeClusterResult cluster = admin.describeCluster();
                    return Driver.map(
                            "id", get(cluster.clusterId()),
                            "controller", get(cluster.controller()).id(),
                            "brokers", ids(new ArrayList<>(get(cluster.nodes()))));
                case "groups":
                    List<String> names = new ArrayList<>();
                    for (GroupListing each : get(admin.listGroups().all())) {
                        names.add(each.groupId());
                    }
                    return names;
                case "describe_group":
                    return describeGroup(admin, group);
                case "committed":
                    Map<String, Long> found = new TreeMap<>();
                    Map<TopicPartition, OffsetAndMetadata> told = get(
                            admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
                    told.forEach((where, what) -> {
                        if (where.topic().equals(topic)) {
                            found.put(String.valueOf(where.partition()), what.offset());
                        }
                    });
                    return found;
                case "delete_group":
                    get(admin.deleteConsumerGroups(List.of(group)).all());
                    return null;
                default:
                    throw new IllegalArgumentException("no such verb: " + verb);
            }
        }
    }

    private static Object describeTopic(Admin admin, String topic) throws Exception {
        List<Object> partitions = new ArrayList<>();
        for (TopicPartitionInfo each :
                get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions()) {
            partitions.add(Driver.map(
                    "leader", each.leader() == null ? -1 : each.leader().id(),
                    "replicas", ids(each.replicas()), "isr", ids(each.isr())));
        }
        return partitions;
    }

    private static Object alterTopic(Admin admin, String topic, Map<String, String> configs)
            throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        configs.forEach((name, value) -> changes.add(
                new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        get(admin.incrementalAlterConfigs(Map.of(
                new ConfigResource(ConfigResource.Type.TOPIC, topic), changes)).all());
        return null;
    }

    private static Object describeGroup(Admin admin, String group) throws Exception {
        ConsumerGroupDescription told =
                get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
        List<Object> members = new ArrayList<>();
        for (MemberDescription each : told.members()) {
            List<Integer> partitions = new ArrayList<>();
            each.assignment().topicPartitions().forEach(p -> partitions.add(p.partition()));
            partitions.sort(null);
            members.add(Driver.map("client", each.clientId(), "partitions", partitions));
        }
        return Driver.map("state", told.groupState().toString(), "members", members);
    }
}
