package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pgdrover/pgdrover/internal/apiclient"
)

// progress is what a step tells of how far it is.
type progress struct {
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
	Unit  string `json:"unit"`
	Note  string `json:"note"`
}

func progressOf(s apiclient.Step) progress {
	var p progress
	if b, err := json.Marshal(s.Progress); err == nil {
		_ = json.Unmarshal(b, &p) // what is no progress is none
	}
	return p
}

// seen is what a view has shown of a step, and since when it is measured.
type seen struct {
	state   apiclient.StepState
	attempt int32
	told    time.Time
	// first is the earliest measure of this attempt: the rate is since then.
	first   progress
	firstAt time.Time
}

// plain shows an operation as lines, for logs and files.
type plain struct {
	cli   *CLI
	w     io.Writer
	op    apiclient.Operation
	state string
	steps map[string]*seen
	// partial is output after the last line end.
	partial, partialOf string
	isLost             bool
}

// newView is the display for this terminal, or lines where it is none.
func (c *CLI) newView() view {
	if w := c.Terminal.Width(); w > 0 {
		return newDrawn(c, w)
	}
	return c.plainView()
}

func (c *CLI) plainView() view { return &plain{cli: c, w: c.Err, steps: map[string]*seen{}} }

func (p *plain) update(op apiclient.Operation, steps []apiclient.Step, output map[string]string) {
	p.tell(op)
	for _, s := range steps {
		if text := output[s.Step]; text != "" {
			if p.steps[s.Step] == nil {
				// A short step's output is read when it has ended; it comes below its step all the same.
				begun := s
				begun.State, begun.EndedAt, begun.Failure = apiclient.StepStateRunning, nil, nil
				p.step(begun)
			}
			p.pieces(s.Step, text)
		}
		p.step(s)
	}
	p.op = op
}

// tell says how the operation itself stands, when that has changed.
func (p *plain) tell(op apiclient.Operation) {
	if p.op.Id == "" {
		fmt.Fprintln(p.w, heading(op))
	}
	if state := standing(op, p.cli.Now()); state != p.state {
		p.state = state
		if state != "" {
			fmt.Fprintln(p.w, "  "+state)
		}
	}
}

// every is how often a log gets a line of a step that goes on.
const every = 10 * time.Second

func (p *plain) step(s apiclient.Step) {
	now := p.cli.Now()
	old := p.steps[s.Step]
	if old == nil {
		old = &seen{}
		p.steps[s.Step] = old
	}
	measure := old.measure(s, now)
	if old.state == s.State && old.attempt == s.Attempt {
		if measure != "" && s.State == apiclient.StepStateRunning && now.Sub(old.told) >= every {
			old.told = now
			fmt.Fprintf(p.w, "  %-8s %s  %s\n", "", oneLine(s.Title), measure)
		}
		return
	}
	begins := s.State == apiclient.StepStateRunning && old.state == apiclient.StepStateRetrying
	if begins && s.Attempt > 1 && old.attempt == s.Attempt {
		return
	}
	old.state, old.attempt, old.told = s.State, s.Attempt, now
	p.rest()
	fmt.Fprintf(p.w, "  %-8s %s\n", word(s), described(s, p.cli.Now()))
}

// pieces writes the whole lines of output and keeps the rest.
func (p *plain) pieces(step, text string) {
	if step != p.partialOf {
		p.rest()
		p.partialOf = step
	}
	p.partial += text
	for {
		line, rest, ok := strings.Cut(p.partial, "\n")
		if !ok {
			break
		}
		fmt.Fprintln(p.w, "    | "+outputLine(line))
		p.partial = rest
	}
}

// rest writes an unfinished line of output, before something else is written.
func (p *plain) rest() {
	if p.partial != "" {
		fmt.Fprintln(p.w, "    | "+outputLine(p.partial))
	}
	p.partial = ""
}

// outputLine is what a terminal would show of a line: after a carriage return it begins anew.
func outputLine(line string) string {
	line = strings.TrimRight(line, "\r")
	if i := strings.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:]
	}
	return clean(line)
}

func (p *plain) lost(err error) {
	if !p.isLost {
		p.isLost = true
		fmt.Fprintln(p.w, "  "+lostText(err))
	}
}

func lostText(err error) string {
	return "the manager does not answer; the operation is safe, trying again (" + oneLine(asError(err).Detail) + ")"
}

func (p *plain) back() {
	if p.isLost {
		p.isLost = false
		fmt.Fprintln(p.w, "  the manager is back")
	}
}

func (p *plain) frame() {}
func (p *plain) end()   { p.rest() }

func heading(op apiclient.Operation) string {
	text := oneLine(op.Title)
	if name := deref(op.TargetName); name != "" {
		text += ": " + oneLine(name)
	}
	return text + "  (operation " + op.Id + ")"
}

// standing tells what a person should know beside the steps.
func standing(op apiclient.Operation, now time.Time) string {
	var notes []string
	switch {
	case final(op.State):
		return ""
	case op.State == apiclient.OperationStateAccepted && now.Sub(op.AcceptedAt) < 2*time.Second:
		// It is about to start.
	case op.State == apiclient.OperationStateWaiting || deref(op.WaitingFor) != "":
		notes = append(notes, "waiting for "+waitingFor(op))
	case op.State != apiclient.OperationStateRunning:
		notes = append(notes, string(op.State))
	}
	if op.CancelRequested {
		notes = append(notes, "cancel asked for")
	}
	if op.Late {
		notes = append(notes, "later than planned, still at work")
	}
	return strings.Join(notes, ", ")
}

func waitingFor(op apiclient.Operation) string {
	switch what := deref(op.WaitingFor); what {
	case "":
		return "its turn"
	case "lock":
		return "the operation that holds the object"
	case "host":
		return "the agent of " + oneLine(deref(op.HostName)) + ", which is offline"
	default:
		return oneLine(what)
	}
}

// word is a step's state for lines.
func word(s apiclient.Step) string {
	switch s.State {
	case apiclient.StepStateRunning:
		if s.Undo {
			return "undo"
		}
		return "run"
	case apiclient.StepStateCompleted:
		if s.Undo {
			return "undone"
		}
		return "done"
	case apiclient.StepStateFailed:
		return "FAILED"
	case apiclient.StepStateRetrying:
		return "retry"
	case apiclient.StepStateCanceled:
		return "canceled"
	}
	return string(s.State)
}

// described is a step with its host, its time and what went wrong.
func described(s apiclient.Step, now time.Time) string {
	text := oneLine(s.Title)
	var notes []string
	if h := deref(s.HostName); h != "" {
		notes = append(notes, oneLine(h))
	}
	if s.EndedAt != nil && s.StartedAt != nil {
		notes = append(notes, duration(s.EndedAt.Sub(*s.StartedAt)))
	} else if s.StartedAt != nil && now.Sub(*s.StartedAt) > time.Second {
		notes = append(notes, duration(now.Sub(*s.StartedAt)))
	}
	if s.Attempt > 1 {
		notes = append(notes, fmt.Sprintf("attempt %d", s.Attempt))
	}
	if len(notes) > 0 {
		text += "  (" + strings.Join(notes, ", ") + ")"
	}
	if s.Failure != nil && s.State != apiclient.StepStateCompleted {
		text += ": " + oneLine(s.Failure.Message)
	}
	return text
}

// measure tells how far a step is: amount, share, rate and what is left.
func (o *seen) measure(s apiclient.Step, now time.Time) string {
	p := progressOf(s)
	if p == (progress{}) {
		return ""
	}
	if o.firstAt.IsZero() || o.attempt != s.Attempt || p.Done < o.first.Done {
		o.first, o.firstAt = p, now
	}
	var parts []string
	switch {
	case p.Total > 0 && p.Unit == "percent":
		parts = append(parts, fmt.Sprintf("%d%%", p.Done*100/p.Total))
	case p.Total > 0:
		parts = append(parts, fmt.Sprintf("%s of %s, %d%%", amount(p.Done, p.Unit), amount(p.Total, p.Unit), p.Done*100/p.Total))
	case p.Done > 0:
		parts = append(parts, amount(p.Done, p.Unit))
	}
	took, gained := now.Sub(o.firstAt).Seconds(), p.Done-o.first.Done
	if took >= 1 && gained > 0 {
		rate := float64(gained) / took
		if p.Unit != "percent" {
			parts = append(parts, amount(int64(rate), p.Unit)+"/s")
		}
		if p.Total > p.Done {
			parts = append(parts, "about "+duration(time.Duration(float64(p.Total-p.Done)/rate*float64(time.Second)))+" left")
		}
	}
	if p.Note != "" && len(parts) == 0 {
		parts = append(parts, oneLine(p.Note))
	}
	return strings.Join(parts, ", ")
}

func amount(n int64, unit string) string {
	if slices.Contains([]string{"bytes", "byte", "B", "bytes of output"}, unit) {
		return strings.TrimSpace(size(n) + strings.TrimPrefix(unit, "bytes"))
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", n, oneLine(unit)))
}
