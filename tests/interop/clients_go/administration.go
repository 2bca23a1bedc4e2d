package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func fromBase64(value any) ([]byte, error) {
	if value == nil {
		return nil, nil
	}
	return base64.StdEncoding.DecodeString(value.(string))
}

func pointers(configs map[string]string) map[string]*string {
	made := make(map[string]*string, len(configs))
	for name, value := range configs {
		made[name] = &value
	}
	return made
}

func administer(ctx context.Context, asked *Asked) (any, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(asked.seeds()...))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	switch asked.Do {
	case "create_topic":
		configs := pointers(asked.Configs)
		_, err := admin.CreateTopic(ctx, asked.Partitions, asked.Replication, configs, asked.Topic)
		return nil, err
	case "delete_topic":
		_, err := admin.DeleteTopic(ctx, asked.Topic)
		return nil, err
	case "list_topics":
		listed, err := admin.ListTopics(ctx)
		return listed.Names(), err
	case "describe_topic":
		return describeTopic(ctx, admin, asked)
	case "add_partitions":
		answers, err := admin.UpdatePartitions(ctx, asked.Total, asked.Topic)
		if err != nil {
			return nil, err
		}
		return nil, answers.Error()
	case "alter_topic":
		return nil, alterTopic(ctx, admin, asked)
	case "topic_config":
		return topicConfig(ctx, admin, asked)
	case "delete_records":
		return deleteRecords(ctx, admin, asked)
	case "cluster":
		return describeCluster(ctx, admin)
	}
	return administerGroups(ctx, admin, asked)
}

func administerGroups(ctx context.Context, admin *kadm.Client, asked *Asked) (any, error) {
	switch asked.Do {
	case "groups":
		listed, err := admin.ListGroups(ctx)
		return listed.Groups(), err
	case "describe_group":
		return describeGroup(ctx, admin, asked)
	case "committed":
		fetched, err := admin.FetchOffsets(ctx, asked.Group)
		if err != nil {
			return nil, err
		}
		found := map[string]int64{}
		fetched.Each(func(each kadm.OffsetResponse) {
			if each.Topic == asked.Topic {
				found[strconv.Itoa(int(each.Partition))] = each.At
			}
		})
		return found, fetched.Error()
	case "delete_group":
		_, err := admin.DeleteGroup(ctx, asked.Group)
		return nil, err
	}
	return nil, fmt.Errorf("no such verb: %s", asked.Do)
}

func describeTopic(ctx context.Context, admin *kadm.Client, asked *Asked) (any, error) {
	listed, err := admin.ListTopics(ctx, asked.Topic)
	if err != nil {
		return nil, err
	}
	topic := listed[asked.Topic]
	if topic.Err != nil {
		return nil, topic.Err
	}
	partitions := []line{}
	for _, each := range topic.Partitions.Sorted() {
		partitions = append(partitions, line{"leader": each.Leader, "replicas": each.Replicas, "isr": each.ISR})
	}
	return partitions, nil
}

func alterTopic(ctx context.Context, admin *kadm.Client, asked *Asked) error {
	changes := []kadm.AlterConfig{}
	for name, value := range pointers(asked.Configs) {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: value})
	}
	answers, err := admin.AlterTopicConfigs(ctx, changes, asked.Topic)
	if err != nil {
		return err
	}
	_, err = answers.On(asked.Topic, func(each *kadm.AlterConfigsResponse) error { return each.Err })
	return err
}

func topicConfig(ctx context.Context, admin *kadm.Client, asked *Asked) (any, error) {
	described, err := admin.DescribeTopicConfigs(ctx, asked.Topic)
	if err != nil {
		return nil, err
	}
	found, err := described.On(asked.Topic, nil)
	if err != nil {
		return nil, err
	}
	for _, each := range found.Configs {
		if each.Key == asked.Name {
			return each.MaybeValue(), found.Err
		}
	}
	return nil, found.Err
}

func deleteRecords(ctx context.Context, admin *kadm.Client, asked *Asked) (any, error) {
	wanted := kadm.Offsets{}
	wanted.Add(kadm.Offset{Topic: asked.Topic, Partition: asked.Partition, At: asked.Offset, LeaderEpoch: -1})
	answers, err := admin.DeleteRecords(ctx, wanted)
	if err != nil {
		return nil, err
	}
	found, _ := answers.Lookup(asked.Topic, asked.Partition)
	return found.LowWatermark, found.Err
}

func describeCluster(ctx context.Context, admin *kadm.Client) (any, error) {
	found, err := admin.BrokerMetadata(ctx)
	if err != nil {
		return nil, err
	}
	return line{"id": found.Cluster, "controller": found.Controller, "brokers": found.Brokers.NodeIDs()}, nil
}

func describeGroup(ctx context.Context, admin *kadm.Client, asked *Asked) (any, error) {
	described, err := admin.DescribeGroups(ctx, asked.Group)
	if err != nil {
		return nil, err
	}
	group := described[asked.Group]
	members := []line{}
	for _, each := range group.Members {
		partitions := []int32{}
		if assigned, ok := each.Assigned.AsConsumer(); ok {
			for _, topic := range assigned.Topics {
				partitions = append(partitions, topic.Partitions...)
			}
		}
		slices.Sort(partitions)
		members = append(members, line{"client": each.ClientID, "partitions": partitions})
	}
	return line{"state": group.State, "members": members}, group.Err
}
