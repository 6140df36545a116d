package gateway

import "github.com/VictoriaMetrics/metrics"

// Gateways of one process (tests) share these.
var (
	metricHosts    = metrics.GetOrCreateGauge("pgdrover_gateway_connected_hosts", nil)
	metricParked   = metrics.GetOrCreateGauge("pgdrover_gateway_parked_polls", nil)
	metricHanded   = metrics.GetOrCreateCounter("pgdrover_gateway_tasks_handed_total")
	metricRehanded = metrics.GetOrCreateCounter("pgdrover_gateway_tasks_handed_again_total")
	metricFailed   = metrics.GetOrCreateCounter("pgdrover_gateway_tasks_failed_total")
	metricRejected = metrics.GetOrCreateCounter("pgdrover_gateway_rejected_calls_total")
	metricReports  = metrics.GetOrCreateCounter("pgdrover_gateway_reports_total")
	metricOutput   = metrics.GetOrCreateCounter("pgdrover_gateway_output_bytes_total")
	metricStepLoss = metrics.GetOrCreateCounter("pgdrover_gateway_step_events_dropped_total")
)
