package embedtemporal

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
)

// serverLogger passes the server's warnings and errors to slog and drops the rest: its normal talk is of no use to
// somebody who runs pgdrover.
type serverLogger struct {
	log *slog.Logger
	// stopping silences the end: services that stop one after another complain about each other.
	stopping *atomic.Bool
}

// knownWarnings tell of what we chose, at every start.
var knownWarnings = []string{
	"HTTP API port has not been set", // nothing of ours uses it, and it would be one more open port
}

var (
	_ log.Logger     = serverLogger{}
	_ log.WithLogger = serverLogger{}
)

func (serverLogger) Debug(string, ...tag.Tag) {}
func (serverLogger) Info(string, ...tag.Tag)  {}

func (l serverLogger) Warn(msg string, tags ...tag.Tag)   { l.write(slog.LevelWarn, msg, tags) }
func (l serverLogger) Error(msg string, tags ...tag.Tag)  { l.write(slog.LevelError, msg, tags) }
func (l serverLogger) DPanic(msg string, tags ...tag.Tag) { l.write(slog.LevelError, msg, tags) }

func (l serverLogger) Panic(msg string, tags ...tag.Tag) {
	l.write(slog.LevelError, msg, tags)
	panic(fmt.Sprintf("temporal: %s %v", msg, attributes(tags)))
}

// Fatal may not return. It panics rather than exits, so that Start can turn a failure into an error.
func (l serverLogger) Fatal(msg string, tags ...tag.Tag) { l.Panic(msg, tags...) }

// With is called once for each component, so the tags are rendered once.
func (l serverLogger) With(tags ...tag.Tag) log.Logger {
	return serverLogger{l.log.With(attributes(tags)...), l.stopping}
}

func (l serverLogger) write(level slog.Level, msg string, tags []tag.Tag) {
	if l.stopping.Load() {
		level = slog.LevelDebug
	}
	for _, known := range knownWarnings {
		if strings.HasPrefix(msg, known) {
			level = slog.LevelDebug
		}
	}
	ctx := context.TODO() //nolint:forbidigo // the interface has none to pass on
	if l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, msg, attributes(tags)...) //nolint:sloglint // the message is a constant at its origin
	}
}

func attributes(tags []tag.Tag) []any {
	attrs := make([]any, 0, len(tags))
	for _, t := range tags {
		attrs = append(attrs, slog.Any(t.Key(), t.Value()))
	}
	return attrs
}
