package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// member of a consumer group: it polls, tells what it sees, and commits that.
type member struct {
	number   int64
	topic    string
	client   *kgo.Client
	end      context.CancelFunc
	finished chan struct{}
	lock     sync.Mutex
	assigned map[int32]bool
}

var members sync.Map

var balancers = map[string]func() kgo.GroupBalancer{
	"range":              kgo.RangeBalancer,
	"roundrobin":         kgo.RoundRobinBalancer,
	"cooperative-sticky": kgo.CooperativeStickyBalancer,
}

func join(asked *Asked) error {
	ctx, cancel := context.WithCancel(context.Background())
	made := &member{
		number: asked.Member, topic: asked.Topic, end: cancel,
		finished: make(chan struct{}), assigned: map[int32]bool{},
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(asked.seeds()...),
		kgo.ConsumerGroup(asked.Group),
		kgo.ConsumeTopics(asked.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(time.Duration(asked.SessionMs) * time.Millisecond),
		kgo.HeartbeatInterval(time.Duration(asked.HeartbeatMs) * time.Millisecond),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.MetadataMaxAge(2 * time.Second),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			made.change(parts, true, true)
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			made.change(parts, false, false)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			made.change(parts, false, false)
		}),
	}
	if asked.Instance != nil {
		options = append(options, kgo.InstanceID(*asked.Instance))
	}
	if asked.Assignor != nil {
		options = append(options, kgo.Balancers(balancers[*asked.Assignor]()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	made.client = client
	members.Store(made.number, made)
	go made.run(ctx)
	return nil
}

func leave(asked *Asked) error {
	found, ok := members.LoadAndDelete(asked.Member)
	if !ok {
		return fmt.Errorf("no member %d", asked.Member)
	}
	leaving := found.(*member)
	leaving.end()
	<-leaving.finished
	return nil
}

func (m *member) change(parts map[string][]int32, add bool, given bool) {
	m.lock.Lock()
	defer m.lock.Unlock()
	for _, partition := range parts[m.topic] {
		if add {
			m.assigned[partition] = true
		} else {
			delete(m.assigned, partition)
		}
	}
	left := []int32{}
	for partition := range m.assigned {
		left = append(left, partition)
	}
	say(line{"member": m.number, "assigned": left, "given": given})
}

// isVoid says of a commit that a rebalance or a coordinator on its way made it void: the next round tries again.
func isVoid(err error) bool {
	return kerr.IsRetriable(err) || errors.Is(err, kerr.RebalanceInProgress) ||
		errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.UnknownMemberID) ||
		errors.Is(err, context.DeadlineExceeded)
}

func (m *member) run(ctx context.Context) {
	defer close(m.finished)
	defer m.client.Close()
	uncommitted := false
	for ctx.Err() == nil {
		pollCtx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		fetches := m.client.PollFetches(pollCtx)
		cancel()
		seen := [][2]int64{}
		fetches.EachRecord(func(record *kgo.Record) {
			seen = append(seen, [2]int64{int64(record.Partition), record.Offset})
		})
		if len(seen) > 0 {
			say(line{"member": m.number, "seen": seen})
			uncommitted = true
		}
		if !uncommitted {
			continue
		}
		commitCtx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := m.client.CommitUncommittedOffsets(commitCtx)
		cancel()
		if err == nil {
			uncommitted = false
		} else if !isVoid(err) {
			say(line{"member": m.number, "failed": err.Error()})
			return
		}
	}
}
