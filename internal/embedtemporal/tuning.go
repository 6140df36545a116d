package embedtemporal

import (
	"time"

	"go.temporal.io/server/common/dynamicconfig"
)

// tuning is Temporal's dynamic configuration for one small node. Without it a workflow with one activity takes 150 ms
// instead of 30, and a thousand agents cost 2.5 GB instead of 0.7.
func tuning() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		// A queue per host has one poller: one partition is enough, and each costs memory and idle queries.
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,

		// The default of 20 reads a second for each shard adds 50 ms to every hop of a task.
		dynamicconfig.TransferProcessorMaxPollRPS.Key():   2000,
		dynamicconfig.TimerProcessorMaxPollRPS.Key():      2000,
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): 2000,
		dynamicconfig.OutboundProcessorMaxPollRPS.Key():   2000,

		// A task whose wake-up was lost with a killed process waits for the next look: a minute, five for timers, by default.
		dynamicconfig.TransferProcessorMaxPollInterval.Key(): 2 * time.Second,
		dynamicconfig.TimerProcessorMaxPollInterval.Key():    2 * time.Second,

		// Concurrent long polls: 1200 by default, one for each agent and a few for the manager.
		dynamicconfig.FrontendMaxConcurrentLongRunningRequestsPerInstance.Key(): 20000,

		// Our own gateway limits callers; these limits are for shared clusters.
		dynamicconfig.FrontendRPS.Key():                                  20000,
		dynamicconfig.FrontendMaxNamespaceRPSPerInstance.Key():           20000,
		dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): 200,
		dynamicconfig.HistoryRPS.Key():                                   20000,
		dynamicconfig.MatchingRPS.Key():                                  20000,
		dynamicconfig.FrontendPersistenceMaxQPS.Key():                    20000,
		dynamicconfig.HistoryPersistenceMaxQPS.Key():                     20000,
		dynamicconfig.MatchingPersistenceMaxQPS.Key():                    20000,
		// The scavengers are the exception: unbounded they overload a small database on a fixed rhythm.
		dynamicconfig.WorkerPersistenceMaxQPS.Key():  200,
		dynamicconfig.ScannerPersistenceMaxQPS.Key(): 20,

		// Gauges for each queue cost 0.14 MB a host, and nobody reads them here.
		dynamicconfig.MetricsBreakdownByTaskQueue.Key(): false,
		dynamicconfig.MetricsBreakdownByPartition.Key(): false,
		dynamicconfig.MetricsBreakdownByBuildID.Key():   false,

		// Bound the mutable-state cache by bytes; by count it creeps to gigabytes.
		dynamicconfig.HistoryCacheSizeBasedLimit.Key():        true,
		dynamicconfig.HistoryCacheHostLevelMaxSizeBytes.Key(): 64 << 20,
		dynamicconfig.EventsHostLevelCacheMaxSizeBytes.Key():  64 << 20,
	}
}
