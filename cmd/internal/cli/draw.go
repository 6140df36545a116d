package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pgdrover/pgdrover/internal/apiclient"
)

// drawn shows an operation on a terminal: what has ended stays as lines, what runs is redrawn below them.
type drawn struct {
	plain
	width   int
	marks   marks
	color   bool
	live    []apiclient.Step
	height  int
	tick    int
	note    string
	printed map[string]string
}

// marks are the signs of a display.
type marks struct {
	done, failed, canceled, undone, full, empty string
	spin                                        []string
}

func newDrawn(c *CLI, width int) *drawn {
	d := &drawn{
		plain: plain{cli: c, w: c.Err, steps: map[string]*seen{}}, width: width, printed: map[string]string{},
		color: c.Env("NO_COLOR") == "",
		marks: marks{done: "+", failed: "x", canceled: "-", undone: "<", full: "#", empty: ".", spin: []string{"|", "/", "-", `\`}},
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		v := strings.ToUpper(c.Env(name))
		if v == "" {
			continue
		}
		if strings.Contains(v, "UTF-8") || strings.Contains(v, "UTF8") {
			d.marks = marks{
				done: "✓", failed: "✗", canceled: "–", undone: "↶", full: "█", empty: "░",
				spin: []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"},
			}
		}
		break
	}
	return d
}

func (d *drawn) update(op apiclient.Operation, steps []apiclient.Step, output map[string]string) {
	d.wipe()
	if d.op.Id == "" {
		fmt.Fprintln(d.w, heading(op))
	}
	d.op, d.live = op, nil
	now := d.cli.Now()
	for _, s := range steps {
		old := d.steps[s.Step]
		if old == nil {
			old = &seen{}
			d.steps[s.Step] = old
		}
		old.measure(s, now)
		old.state, old.attempt = s.State, s.Attempt
		if text := output[s.Step]; text != "" {
			if s.Step != d.partialOf {
				d.rest()
				fmt.Fprintln(d.w, "    "+oneLine(s.Title)+":")
			}
			d.pieces(s.Step, text)
		}
		if s.State == apiclient.StepStateRunning || s.State == apiclient.StepStateRetrying {
			d.live = append(d.live, s)
			continue
		}
		// A step may end twice: an attempt failed, a later one did it.
		if line := d.ended(s); d.printed[s.Step] != line {
			d.printed[s.Step] = line
			d.rest()
			fmt.Fprintln(d.w, line)
		}
	}
	d.draw()
}

func (d *drawn) ended(s apiclient.Step) string {
	mark, code := d.marks.done, "32"
	switch {
	case s.State == apiclient.StepStateFailed:
		mark, code = d.marks.failed, "31"
	case s.State == apiclient.StepStateCanceled:
		mark, code = d.marks.canceled, "33"
	case s.Undo:
		mark, code = d.marks.undone, "33"
	}
	return "  " + d.paint(code, mark) + " " + described(s, d.cli.Now())
}

func (d *drawn) paint(code, text string) string {
	if !d.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (d *drawn) lost(err error) {
	d.note = lostText(err)
	d.redraw()
}

func (d *drawn) back() { d.note = "" }

func (d *drawn) frame() {
	d.tick++
	d.redraw()
}

func (d *drawn) end() {
	d.wipe()
	d.rest()
}

func (d *drawn) redraw() {
	d.wipe()
	d.draw()
}

// wipe takes the moving lines away.
func (d *drawn) wipe() {
	if d.height > 0 {
		fmt.Fprintf(d.w, "\x1b[%dA\x1b[J", d.height)
	}
	d.height = 0
}

// draw puts the moving lines below all others; none may be wider than the terminal, or wipe would miss some.
func (d *drawn) draw() {
	var lines []string
	spin := d.marks.spin[d.tick%len(d.marks.spin)]
	now := d.cli.Now()
	for _, s := range d.live {
		mark := spin
		if s.Undo {
			mark = d.marks.undone
		}
		lines = append(lines, "  "+mark+" "+described(s, now))
		if m := d.steps[s.Step].measure(s, now); m != "" {
			lines = append(lines, "    "+d.bar(progressOf(s))+m)
		}
	}
	note := d.note
	if note == "" {
		note = standing(d.op, now)
	}
	if note != "" {
		lines = append(lines, "  "+spin+" "+note)
	} else if len(lines) == 0 && d.op.Id != "" && !final(d.op.State) {
		lines = append(lines, "  "+spin)
	}
	for _, l := range lines {
		fmt.Fprintln(d.w, cut(l, d.width-1))
	}
	d.height = len(lines)
}

func (d *drawn) bar(p progress) string {
	if p.Total <= 0 {
		return ""
	}
	const cells = 24
	n := int(min(max(p.Done*cells/p.Total, 0), cells))
	return strings.Repeat(d.marks.full, n) + strings.Repeat(d.marks.empty, cells-n) + " "
}

func cut(s string, width int) string {
	s = strings.ReplaceAll(s, "\t", " ")
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:max(width-1, 0)]) + "…"
}
