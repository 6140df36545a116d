// Package lostpoll is what an agent and the gateway say to each other about polls whose answer did not arrive.
//
// A poll that is cut at the very moment the gateway answers it loses a task: the gateway believes it handed over, the
// agent never saw it, and only a time limit brings it back. So every poll of an agent carries a number, and the numbers
// of earlier polls that ended without an answer; the gateway hands their tasks out again at once. Nothing is guessed:
// only the agent can know, and it says so. The agent chains ClientInterceptor into its connection; it needs nothing else.
package lostpoll

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const (
	// MetadataPoll is the number of this poll, unique in the life of the agent's process.
	MetadataPoll = "pgdrover-poll"
	// MetadataLost lists polls that ended without an answer: numbers and runs of numbers, e.g. "3,7-9".
	MetadataLost = "pgdrover-lost"

	pollMethod = "/temporal.api.workflowservice.v1.WorkflowService/PollActivityTaskQueue"
)

// ClientInterceptor numbers the polls of one agent process. Make one for all connections of the process: the numbers
// must not begin anew with a new connection.
func ClientInterceptor() grpc.UnaryClientInterceptor {
	t := &tracker{}
	return func(
		ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
	) error {
		if method != pollMethod {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		number, lost := t.begin()
		ctx = metadata.AppendToOutgoingContext(ctx, MetadataPoll, strconv.FormatUint(number, 10))
		if len(lost) > 0 {
			ctx = metadata.AppendToOutgoingContext(ctx, MetadataLost, lost.String())
		}
		err := invoke(ctx, method, req, reply, cc, opts...)
		t.end(number, err)
		return err
	}
}

// loss is a run of lost polls; last is the newest poll that had begun when the last of them was lost.
type loss struct {
	Range
	last uint64
}

type tracker struct {
	mu     sync.Mutex
	newest uint64
	losses []loss
}

func (t *tracker) begin() (number uint64, lost Ranges) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.newest++
	for _, l := range t.losses {
		lost = append(lost, l.Range)
	}
	return t.newest, lost
}

func (t *tracker) end(number uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		// An answer proves that the gateway has read the list that went with the question.
		t.losses = slices.DeleteFunc(t.losses, func(l loss) bool { return l.last < number })
		return
	}
	if n := len(t.losses); n > 0 && t.losses[n-1].To+1 == number {
		t.losses[n-1].To, t.losses[n-1].last = number, t.newest
		return
	}
	t.losses = append(t.losses, loss{Range{number, number}, t.newest})
	if len(t.losses) > maxRanges {
		t.losses = t.losses[len(t.losses)-maxRanges:]
	}
}

// FromIncoming reads what ClientInterceptor wrote; zero and nil where an agent does not number its polls.
func FromIncoming(ctx context.Context) (number uint64, lost Ranges) {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get(MetadataPoll); len(v) == 1 {
		number, _ = strconv.ParseUint(v[0], 10, 63)
	}
	if v := md.Get(MetadataLost); len(v) == 1 {
		lost = parse(v[0])
	}
	return number, lost
}
