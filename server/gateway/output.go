package gateway

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/pgdrover/pgdrover/activities/host"
	"github.com/pgdrover/pgdrover/db"
	"github.com/pgdrover/pgdrover/db/gen"
	"github.com/pgdrover/pgdrover/internal/errs"
)

const (
	// maxOutput of one operation, in bytes.
	maxOutput = 64 << 20
	// sizeTime is how long a gateway believes its own sum of an operation's output; another may add to it too.
	sizeTime    = 30 * time.Second
	outputEvery = 250 * time.Millisecond
	maxSizes    = 10000
)

// output appends a piece of a step's output. Told twice it is stored once.
func (g *Gateway) output(w http.ResponseWriter, r *http.Request, c caller) error {
	var in host.OutputChunk
	if err := readJSON(w, r, maxOutputBody, &in); err != nil {
		return err
	}
	operation, err := checkOutput(in)
	if err != nil {
		return err
	}
	ctx := r.Context()
	handed := g.hosts.get(c.hostID).hasHanded(operation)
	wanted, err := g.cfg.DB.OutputWanted(ctx, operation, handed, &c.hostID)
	if err != nil {
		return err
	}
	if !wanted {
		g.refuse(refusal{caller: c, what: "output", reason: "no step of operation " + operation.String()})
		return errs.New(errs.Denied, "forbidden", "The host has no step of this operation, or it ended too long ago.")
	}
	size, err := g.outputs.size(ctx, g.cfg.DB.Queries, operation)
	if err != nil {
		return err
	}
	if size+int64(len(in.Data)) > maxOutput {
		return errs.New(errs.Invalid, "output-full", "The operation has written %d MiB of output; no more is kept.", maxOutput>>20)
	}
	n, err := g.cfg.DB.InsertOutput(ctx, gen.InsertOutputParams{
		OperationID: operation, Step: in.Step, Run: int32(in.Run), StartOffset: in.Offset, Data: in.Data,
	})
	if err != nil {
		return err
	}
	if n > 0 {
		metricOutput.Add(len(in.Data))
		g.outputs.added(operation, in.Step, int64(len(in.Data)))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func checkOutput(in host.OutputChunk) (uuid.UUID, error) {
	e := errs.New(errs.Invalid, "invalid-input", "The piece of output is not valid.")
	operation, err := uuid.Parse(in.Operation)
	if err != nil {
		_ = e.At("body.operation", "is not an id")
	}
	if m := textFault(in.Step, maxNameLength); m != "" || in.Step == "" {
		_ = e.At("body.step", "is not a step "+m)
	}
	if in.Run < 1 || in.Run > 1<<20 {
		_ = e.At("body.run", "must be from 1 to "+strconv.Itoa(1<<20))
	}
	if in.Offset < 0 {
		_ = e.At("body.offset", "must not be negative")
	}
	if len(in.Data) == 0 || len(in.Data) > maxOutputBody/2 {
		_ = e.At("body.data", "must have from 1 to "+strconv.Itoa(maxOutputBody/2)+" bytes")
	}
	if len(e.Fields) > 0 {
		return operation, e
	}
	return operation, nil
}

// hasHanded tells whether this gateway gave the host a step of the operation.
func (h *hostState) hasHanded(operation uuid.UUID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.operations[operation.String()]
	return ok
}

type outputSize struct {
	bytes int64
	at    time.Time
}

// outputs keeps sums of output, and says at most a few times a second that there is more.
type outputs struct {
	mu    sync.Mutex
	sizes map[uuid.UUID]outputSize
	news  map[stepKey]struct{}
}

func newOutputs() *outputs {
	return &outputs{sizes: map[uuid.UUID]outputSize{}, news: map[stepKey]struct{}{}}
}

func (o *outputs) size(ctx context.Context, q *gen.Queries, operation uuid.UUID) (int64, error) {
	o.mu.Lock()
	known, ok := o.sizes[operation]
	o.mu.Unlock()
	if ok && time.Since(known.at) < sizeTime {
		return known.bytes, nil
	}
	n, err := q.OutputSize(ctx, operation)
	if err != nil {
		return 0, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.sizes) >= maxSizes {
		clear(o.sizes)
	}
	o.sizes[operation] = outputSize{bytes: n, at: time.Now()}
	return n, nil
}

func (o *outputs) added(operation uuid.UUID, step string, n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s, ok := o.sizes[operation]; ok {
		s.bytes += n
		o.sizes[operation] = s
	}
	o.news[stepKey{operation, step}] = struct{}{}
}

func (o *outputs) take() []db.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	events := make([]db.Event, 0, len(o.news))
	for k := range o.news {
		events = append(events, db.Event{Kind: "output", ID: k.step, Parent: k.operation.String()})
	}
	clear(o.news)
	return events
}

func (o *outputs) announce(g *Gateway) func(context.Context) {
	return func(ctx context.Context) {
		every(ctx, outputEvery, func() {
			events := o.take()
			if len(events) == 0 {
				return
			}
			call, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			if err := notifyAll(call, g.cfg.DB.Queries, events); err != nil {
				g.log.Warn("output could not be announced", "steps", len(events), "error", err)
			}
		})
	}
}
