package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pgdrover/pgdrover/server/admit"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// namespace makes sure that an outside cluster has the namespace and the search attributes; the embedded one has.
func (m *Manager) namespace(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ns := m.cfg.Temporal.Namespace
	svc := m.temporal.WorkflowService()
	_, err := svc.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: ns})
	if _, ok := errors.AsType[*serviceerror.NamespaceNotFound](err); ok {
		_, err = svc.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
			Namespace: ns, Description: "pgdrover", WorkflowExecutionRetentionPeriod: durationpb.New(7 * 24 * time.Hour),
		})
		if _, ok := errors.AsType[*serviceerror.NamespaceAlreadyExists](err); ok {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("look up Temporal's namespace %s: %w", ns, err)
	}
	return m.attributes(ctx, ns)
}

func (m *Manager) attributes(ctx context.Context, ns string) error {
	o := m.temporal.OperatorService()
	have, err := o.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: ns})
	if err != nil {
		return fmt.Errorf("list Temporal's search attributes: %w", err)
	}
	missing := map[string]enums.IndexedValueType{}
	for name, kind := range admit.SearchAttributes() {
		if _, ok := have.GetCustomAttributes()[name]; !ok {
			missing[name] = kind
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = o.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: ns, SearchAttributes: missing})
	var exists *serviceerror.AlreadyExists
	if err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("add Temporal's search attributes: %w", err)
	}
	return nil
}

func (m *Manager) temporalReady(ctx context.Context) error {
	_, err := m.temporal.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	return err
}

// quiet lets the SDK say only what matters: it is talkative about connections it repairs by itself.
func quiet(log *slog.Logger) *slog.Logger {
	return slog.New(levelled{log.With("from", "temporal-sdk").Handler(), slog.LevelWarn})
}

type levelled struct {
	slog.Handler
	min slog.Level
}

func (l levelled) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= l.min && l.Handler.Enabled(ctx, level)
}

func (l levelled) WithAttrs(a []slog.Attr) slog.Handler {
	return levelled{l.Handler.WithAttrs(a), l.min}
}

func (l levelled) WithGroup(name string) slog.Handler {
	return levelled{l.Handler.WithGroup(name), l.min}
}
