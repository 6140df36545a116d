package gateway

import "go.temporal.io/api/workflowservice/v1"

// Temporal's own names are too long to read beside each other.
type (
	pollReq            = workflowservice.PollActivityTaskQueueRequest
	pollResp           = workflowservice.PollActivityTaskQueueResponse
	heartbeatReq       = workflowservice.RecordActivityTaskHeartbeatRequest
	completedReq       = workflowservice.RespondActivityTaskCompletedRequest
	failedReq          = workflowservice.RespondActivityTaskFailedRequest
	canceledReq        = workflowservice.RespondActivityTaskCanceledRequest
	workerHeartbeatReq = workflowservice.RecordWorkerHeartbeatRequest
	shutdownReq        = workflowservice.ShutdownWorkerRequest
	shutdownResp       = workflowservice.ShutdownWorkerResponse
	systemInfoReq      = workflowservice.GetSystemInfoRequest
	namespaceReq       = workflowservice.DescribeNamespaceRequest
	namespaceResp      = workflowservice.DescribeNamespaceResponse
)
