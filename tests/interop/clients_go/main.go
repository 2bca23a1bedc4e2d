// Driver puts franz-go behind lines of JSON: what tests/interop/drivers.py asks, it does and answers.
//
// A request is {"id": N, "do": VERB, ...}; its answer {"id": N, "ok": ...} or {"id": N, "error": {"name", "text"}}.
// Members of groups and producers under load tell what happens to them in lines of their own. Requests run side by
// side. It must never change the client's behaviour beyond its public settings.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

const waitTime = 60 * time.Second

// Asked is one request; a verb reads the fields that it knows.
type Asked struct {
	ID          int64             `json:"id"`
	Do          string            `json:"do"`
	Bootstrap   string            `json:"bootstrap"`
	Topic       string            `json:"topic"`
	Group       string            `json:"group"`
	Name        string            `json:"name"`
	Configs     map[string]string `json:"configs"`
	Partitions  int32             `json:"partitions"`
	Replication int16             `json:"replication"`
	Total       int               `json:"total"`
	Partition   int32             `json:"partition"`
	Offset      int64             `json:"offset"`
	Start       int64             `json:"start"`
	Count       int               `json:"count"`
	Times       []int64           `json:"times"`
	Rows        []Row             `json:"rows"`
	Compression string            `json:"compression"`
	Acks        int               `json:"acks"`
	Idempotent  bool              `json:"idempotent"`
	MaxBytes    int32             `json:"max_bytes"`
	Member      int64             `json:"member"`
	Instance    *string           `json:"instance"`
	Assignor    *string           `json:"assignor"`
	SessionMs   int64             `json:"session_ms"`
	HeartbeatMs int64             `json:"heartbeat_ms"`
	Load        int64             `json:"load"`
	InFlight    int               `json:"in_flight"`
	PauseMs     int64             `json:"pause_ms"`
	DeliveryMs  int64             `json:"delivery_ms"`
}

type line map[string]any

var output sync.Mutex

func say(what line) {
	text, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	_, _ = os.Stdout.Write(append(text, '\n'))
}

func (asked *Asked) seeds() []string { return strings.Split(asked.Bootstrap, ",") }

func version() any {
	found := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, each := range info.Deps {
			if each.Path == "github.com/twmb/franz-go" {
				found = strings.TrimPrefix(each.Version, "v")
			}
		}
	}
	return line{"client": "franz-go", "version": found}
}

func perform(ctx context.Context, asked *Asked) (any, error) {
	switch asked.Do {
	case "version":
		return version(), nil
	case "produce":
		return produce(ctx, asked)
	case "begin_transaction":
		return nil, beginTransaction(ctx, asked)
	case "consume":
		return consume(ctx, asked)
	case "offsets":
		return offsets(ctx, asked)
	case "join":
		return nil, join(asked)
	case "leave":
		return nil, leave(asked)
	case "load":
		return nil, beginLoad(asked)
	case "end_load":
		return endLoad(asked)
	}
	return administer(ctx, asked)
}

func answer(asked *Asked) {
	ctx, cancel := context.WithTimeout(context.Background(), waitTime)
	defer cancel()
	ok, err := perform(ctx, asked)
	if err == nil {
		say(line{"id": asked.ID, "ok": ok})
		return
	}
	name := fmt.Sprintf("%T", err)
	var known *kerr.Error
	if errors.As(err, &known) {
		name = known.Message
	}
	say(line{"id": asked.ID, "error": line{"name": name, "text": err.Error()}})
}

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			return // the end of input is the end of everything, whatever still runs
		}
		asked := &Asked{}
		if err := json.Unmarshal(text, asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		go answer(asked)
	}
}
