-- name: NotifyEvent :exec
SELECT pg_notify('pgdrover_event', @payload::text);

-- name: InsertAudit :exec
INSERT INTO audit (actor, account_id, remote_address, action, target_kind, target_id, target_name, result, operation_id, detail)
VALUES (@actor, sqlc.narg(account_id), @remote_address, @action, @target_kind, @target_id, @target_name, @result, sqlc.narg(operation_id), @detail);
