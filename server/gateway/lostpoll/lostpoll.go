// Package lostpoll is what an agent and the gateway say to each other about polls whose answer did not arrive.
//
// A poll that is cut at the very moment the gateway answers it loses a task: the gateway believes it handed over, the
// agent never saw it, and only a time limit brings it back. So every poll of an agent carries a number, and the numbers
// of earlier polls that ended without an answer; the gateway hands their tasks out again at once. Nothing is guessed:
// only the agent can know, and it says so. The agent chains ClientInterceptor into its connection; it needs nothing else.
package lostpoll

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const (
	// MetadataPoll is the number of this poll, unique in the life of the agent's process.
	MetadataPoll = "pgdrover-poll"
	// MetadataLost lists polls that ended without an answer, separated by commas.
	MetadataLost = "pgdrover-lost"

	pollMethod = "/temporal.api.workflowservice.v1.WorkflowService/PollActivityTaskQueue"
	maxLost    = 64
)

// ClientInterceptor numbers the polls of one agent process. Make one for all connections of the process: the numbers
// must not begin anew with a new connection.
func ClientInterceptor() grpc.UnaryClientInterceptor {
	t := &tracker{}
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if method != pollMethod {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		number, lost := t.begin()
		ctx = metadata.AppendToOutgoingContext(ctx, MetadataPoll, strconv.FormatUint(number, 10))
		if len(lost) > 0 {
			ctx = metadata.AppendToOutgoingContext(ctx, MetadataLost, join(lost))
		}
		err := invoke(ctx, method, req, reply, cc, opts...)
		t.end(number, lost, err)
		return err
	}
}

type tracker struct {
	mu   sync.Mutex
	next uint64
	lost []uint64
}

func (t *tracker) begin() (number uint64, lost []uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	return t.next, append([]uint64(nil), t.lost...)
}

func (t *tracker) end(number uint64, told []uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		// The oldest are forgotten first: their tasks have run out of time anyway.
		t.lost = append(t.lost, number)
		if len(t.lost) > maxLost {
			t.lost = t.lost[len(t.lost)-maxLost:]
		}
		return
	}
	// An answer proves that the gateway has read the list that went with the question.
	known := make(map[uint64]bool, len(told))
	for _, n := range told {
		known[n] = true
	}
	kept := t.lost[:0]
	for _, n := range t.lost {
		if !known[n] {
			kept = append(kept, n)
		}
	}
	t.lost = kept
}

func join(numbers []uint64) string {
	var b strings.Builder
	for i, n := range numbers {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(n, 10))
	}
	return b.String()
}

// FromIncoming reads what ClientInterceptor wrote; zero and nil where an agent does not number its polls.
func FromIncoming(ctx context.Context) (number uint64, lost []uint64) {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get(MetadataPoll); len(v) == 1 {
		number, _ = strconv.ParseUint(v[0], 10, 64)
	}
	if v := md.Get(MetadataLost); len(v) == 1 {
		for part := range strings.SplitSeq(v[0], ",") {
			if n, err := strconv.ParseUint(part, 10, 64); err == nil && len(lost) < maxLost {
				lost = append(lost, n)
			}
		}
	}
	return number, lost
}
