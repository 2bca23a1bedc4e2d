package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Header is a name and a value that may be absent.
type Header [2]any

// Row is a record with every byte of it; []byte is base64 in JSON, and nil is null.
type Row struct {
	Offset  int64    `json:"o"`
	Key     []byte   `json:"k"`
	Value   []byte   `json:"v"`
	Headers []Header `json:"h"`
	Time    int64    `json:"t"`
}

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func producerOptions(asked *Asked) []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(asked.seeds()...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.AllowAutoTopicCreation(),
		kgo.ProducerLinger(10 * time.Millisecond),
		kgo.ProducerBatchCompression(codecs[asked.Compression]),
		kgo.ProducerBatchMaxBytes(asked.MaxBytes),
	}
	switch {
	case asked.Acks == 0:
		options = append(options, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case asked.Acks == 1:
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case !asked.Idempotent:
		options = append(options, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DisableIdempotentWrite())
	}
	if !asked.Idempotent {
		// Without ids of its own it may only have one request under way, or retries could reorder.
		options = append(options, kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	return options
}

func beginTransaction(ctx context.Context, asked *Asked) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(asked.seeds()...), kgo.TransactionalID(asked.Name))
	if err != nil {
		return err
	}
	defer client.Close()
	_, _, err = client.ProducerID(ctx)
	return err
}

func produce(ctx context.Context, asked *Asked) (any, error) {
	client, err := kgo.NewClient(producerOptions(asked)...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	records := make([]*kgo.Record, len(asked.Rows))
	for i, row := range asked.Rows {
		headers := make([]kgo.RecordHeader, len(row.Headers))
		for j, header := range row.Headers {
			value, err := fromBase64(header[1])
			if err != nil {
				return nil, err
			}
			headers[j] = kgo.RecordHeader{Key: header[0].(string), Value: value}
		}
		records[i] = &kgo.Record{
			Topic: asked.Topic, Partition: asked.Partition, Key: row.Key, Value: row.Value,
			Headers: headers, Timestamp: time.UnixMilli(row.Time),
		}
	}
	offsets := make([]int64, len(records))
	results := client.ProduceSync(ctx, records...)
	if err := results.FirstErr(); err != nil {
		return nil, err
	}
	for i, record := range records {
		offsets[i] = record.Offset
	}
	return offsets, nil
}

func consume(ctx context.Context, asked *Asked) (any, error) {
	place := map[int32]kgo.Offset{asked.Partition: kgo.NewOffset().At(asked.Start)}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(asked.seeds()...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{asked.Topic: place}),
		kgo.FetchMaxWait(500*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	found := []Row{}
	for len(found) < asked.Count {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return found, nil // who asked sees what is missing
		}
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if len(found) < asked.Count {
				found = append(found, rowOf(record))
			}
		})
	}
	return found, nil
}

func rowOf(record *kgo.Record) Row {
	headers := make([]Header, len(record.Headers))
	for i, each := range record.Headers {
		headers[i] = Header{each.Key, each.Value}
	}
	return Row{
		Offset: record.Offset, Key: record.Key, Value: record.Value, Headers: headers,
		Time: record.Timestamp.UnixMilli(),
	}
}

func offsets(ctx context.Context, asked *Asked) (any, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(asked.seeds()...))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	one := func(listed kadm.ListedOffsets, err error) (kadm.ListedOffset, error) {
		if err != nil {
			return kadm.ListedOffset{}, err
		}
		found, _ := listed.Lookup(asked.Topic, asked.Partition)
		return found, found.Err
	}
	low, err := one(admin.ListStartOffsets(ctx, asked.Topic))
	if err != nil {
		return nil, err
	}
	high, err := one(admin.ListEndOffsets(ctx, asked.Topic))
	if err != nil {
		return nil, err
	}
	found := make([]*int64, len(asked.Times))
	for i, at := range asked.Times {
		listed, err := one(admin.ListOffsetsAfterMilli(ctx, at, asked.Topic))
		if err != nil {
			return nil, err
		}
		// Where there is none, it answers the end, without a timestamp.
		if listed.Timestamp >= 0 {
			offset := listed.Offset
			found[i] = &offset
		}
	}
	return line{"low": low.Offset, "high": high.Offset, "found": found}, nil
}
