package workflows_test

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgdrover/pgdrover/workflows"
	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// corpus holds histories that released code has made: testdata/replay/<release>/<operation>/<scenario>.json.gz.
const corpus = "testdata/replay"

// Operations that a release has begun must be able to go on under this code. Where one cannot, its change of order needs
// workflow.GetVersion; recording anew would hide that from the sites that have such operations under way.
func TestReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(corpus, "*", "*", "*.json.gz"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	r, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{DisableRegistrationAliasing: true})
	require.NoError(t, err)
	for _, o := range workflows.All {
		r.RegisterWorkflowWithOptions(o.Workflow(), workflow.RegisterOptions{Name: o.Info().Name})
	}
	for _, file := range files {
		release, name := filepath.Base(filepath.Dir(filepath.Dir(file))), filepath.Base(filepath.Dir(file))
		t.Run(release+"/"+name+"/"+filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			require.NotNil(t, workflows.ByName(name), "release %s had %s: operations are never taken away while their histories live",
				release, name)
			require.NoError(t, r.ReplayWorkflowHistory(nil, history(t, file)))
		})
	}
}

func history(t *testing.T, file string) *historypb.History {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	h, err := client.HistoryFromJSON(z, client.HistoryJSONOptions{})
	require.NoError(t, err)
	return h
}

// Every operation is in the corpus: a new one is recorded with "make replay-record".
func TestEveryOperationIsInTheCorpus(t *testing.T) {
	t.Parallel()
	for _, o := range workflows.All {
		found, err := filepath.Glob(filepath.Join(corpus, "*", o.Info().Name, "success.json.gz"))
		require.NoError(t, err)
		require.NotEmpty(t, found, "%s has no history to replay: make replay-record", o.Info().Name)
	}
}

// A replay that takes anything would prove nothing: another operation's history must be refused.
func TestReplayNoticesAnotherOrder(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(corpus, "*", "instance-create", "*.json.gz"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	r, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{DisableRegistrationAliasing: true})
	require.NoError(t, err)
	r.RegisterWorkflowWithOptions(workflows.ByName("instance-delete").Workflow(), workflow.RegisterOptions{Name: "instance-create"})
	for _, file := range files {
		require.Error(t, r.ReplayWorkflowHistory(nil, history(t, file)), file)
	}
}
