package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// load is an idempotent producer that writes with acks=all until it is told to stop.
type load struct {
	asked        *Asked
	client       *kgo.Client
	ended        atomic.Bool
	finished     chan struct{}
	sent         []int
	answered     []atomic.Int64
	lock         sync.Mutex
	acknowledged [][3]int64
}

var loads sync.Map

func beginLoad(asked *Asked) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(asked.seeds()...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.RecordDeliveryTimeout(time.Duration(asked.DeliveryMs)*time.Millisecond),
		kgo.MetadataMinAge(250*time.Millisecond),
	)
	if err != nil {
		return err
	}
	made := &load{
		asked: asked, client: client, finished: make(chan struct{}),
		sent: make([]int, asked.Partitions), answered: make([]atomic.Int64, asked.Partitions),
	}
	loads.Store(asked.Load, made)
	go made.run()
	return nil
}

func endLoad(asked *Asked) (any, error) {
	found, ok := loads.LoadAndDelete(asked.Load)
	if !ok {
		return nil, fmt.Errorf("no load %d", asked.Load)
	}
	ending := found.(*load)
	ending.ended.Store(true)
	<-ending.finished
	return ending.sent, nil
}

func (l *load) run() {
	defer close(l.finished)
	defer l.client.Close()
	for !l.ended.Load() {
		for partition := range l.sent {
			if l.sent[partition]-int(l.answered[partition].Load()) < l.asked.InFlight {
				l.send(partition, l.sent[partition])
				l.sent[partition]++
			}
		}
		l.tell()
		time.Sleep(time.Duration(l.asked.PauseMs) * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*waitTime)
	defer cancel()
	if err := l.client.Flush(ctx); err != nil {
		say(line{"load": l.asked.Load, "failed": err.Error()})
	}
	l.tell()
}

func (l *load) send(partition int, turn int) {
	text := fmt.Sprintf("%s:%d:%d %s", l.asked.Name, partition, turn, strings.Repeat(".", 80))
	record := &kgo.Record{Topic: l.asked.Topic, Partition: int32(partition), Value: []byte(text)}
	l.client.Produce(context.Background(), record, func(record *kgo.Record, err error) {
		l.answered[partition].Add(1)
		if err != nil {
			say(line{"load": l.asked.Load, "refused": []any{partition, turn, err.Error()}})
			return
		}
		l.lock.Lock()
		defer l.lock.Unlock()
		l.acknowledged = append(l.acknowledged, [3]int64{int64(partition), int64(turn), record.Offset})
	})
}

func (l *load) tell() {
	l.lock.Lock()
	defer l.lock.Unlock()
	if len(l.acknowledged) > 0 {
		say(line{"load": l.asked.Load, "acknowledged": l.acknowledged})
		l.acknowledged = nil
	}
}
