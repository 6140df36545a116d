package embedtemporal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	readyPatience = 60 * time.Second
	readyPoll     = 10 * time.Millisecond
)

// awaitReady waits until the namespace is known and every shard answers. A workflow started earlier would wait for its
// shard behind Temporal's own back-off, up to 20 seconds.
func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	c, err := client.NewLazyClient(client.Options{
		HostPort: s.frontend, Namespace: s.cfg.Namespace, Logger: noLog{},
		ConnectionOptions: client.ConnectionOptions{TLS: s.ClientTLS()},
	})
	if err != nil {
		return fmt.Errorf("connect to Temporal: %w", err)
	}
	defer c.Close()

	var ns *workflowservice.DescribeNamespaceResponse
	err = retry(ctx, func() (err error) {
		ns, err = c.WorkflowService().DescribeNamespace(ctx,
			&workflowservice.DescribeNamespaceRequest{Namespace: s.cfg.Namespace})
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for Temporal's namespace %s: %w", s.cfg.Namespace, err)
	}
	for _, id := range onePerShard(ns.GetNamespaceInfo().GetId(), s.cfg.Shards) {
		err := retry(ctx, func() error { return probeShard(ctx, c.WorkflowService(), s.cfg.Namespace, id) })
		if err != nil {
			return fmt.Errorf("wait for Temporal's shards: %w", err)
		}
	}
	if err := s.ensureRetention(ctx, c.WorkflowService(), ns); err != nil {
		return err
	}
	return s.ensureSearchAttributes(ctx, c.OperatorService())
}

// onePerShard finds a workflow id for every shard. With a number of shards other than that of the database some probes
// hit a shard twice, which does no harm.
func onePerShard(namespaceID string, shards int) []string {
	ids := map[int32]string{}
	for i := 0; len(ids) < shards; i++ {
		id := "shard-probe-" + strconv.Itoa(i)
		ids[common.WorkflowIDToHistoryShard(namespaceID, id, int32(shards))] = id
	}
	return slices.Collect(maps.Values(ids))
}

// probeShard asks for a workflow that does not exist: "not found" proves that its shard works.
func probeShard(ctx context.Context, service workflowservice.WorkflowServiceClient, namespace, id string) error {
	_, err := service.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: id},
	})
	if _, ok := errors.AsType[*serviceerror.NotFound](err); ok {
		return nil
	}
	return err
}

// ensureRetention follows a changed configuration; the namespace is created before the start only once.
func (s *Server) ensureRetention(
	ctx context.Context, service workflowservice.WorkflowServiceClient, ns *workflowservice.DescribeNamespaceResponse,
) error {
	if ns.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration() == retention(&s.cfg) {
		return nil
	}
	_, err := service.UpdateNamespace(ctx, &workflowservice.UpdateNamespaceRequest{
		Namespace: s.cfg.Namespace,
		Config:    &namespacepb.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(retention(&s.cfg))},
	})
	if err != nil {
		return fmt.Errorf("set retention of namespace %s: %w", s.cfg.Namespace, err)
	}
	return nil
}

// ensureSearchAttributes adds those that a newer release of ours brought.
func (s *Server) ensureSearchAttributes(ctx context.Context, service operatorservice.OperatorServiceClient) error {
	if len(s.cfg.SearchAttributes) == 0 {
		return nil
	}
	have, err := service.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: s.cfg.Namespace})
	if err != nil {
		return fmt.Errorf("list search attributes of namespace %s: %w", s.cfg.Namespace, err)
	}
	missing := map[string]enumspb.IndexedValueType{}
	for name, kind := range s.cfg.SearchAttributes {
		if _, there := have.GetCustomAttributes()[name]; !there {
			missing[name] = kind
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = service.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: s.cfg.Namespace, SearchAttributes: missing,
	})
	if err != nil {
		return fmt.Errorf("add search attributes %v to namespace %s: %w", slices.Sorted(maps.Keys(missing)), s.cfg.Namespace, err)
	}
	return nil
}

func retry(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		if pause(ctx, readyPoll) != nil {
			return err
		}
	}
}

// noLog silences the client of the start-up, whose failed tries are expected.
type noLog struct{}

func (noLog) Debug(string, ...any) {}
func (noLog) Info(string, ...any)  {}
func (noLog) Warn(string, ...any)  {}
func (noLog) Error(string, ...any) {}
