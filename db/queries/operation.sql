-- name: NextFence :one
SELECT nextval('operation_fence')::bigint;

-- name: InsertOperation :one
INSERT INTO operation (id, name, title, state, waiting_for, risk, target_kind, target_id, target_name, host_id, object_id, dry_run, input,
                       locks, fence, actor, account_id, schedule_id, retry_of, idempotency_key, request_hash, deadline_at)
VALUES (@id, @name, @title, @state, @waiting_for, @risk, @target_kind, sqlc.narg(target_id), @target_name, sqlc.narg(host_id),
        sqlc.narg(object_id), @dry_run, @input, @locks, @fence, @actor, sqlc.narg(account_id), sqlc.narg(schedule_id),
        sqlc.narg(retry_of), sqlc.narg(idempotency_key), @request_hash, sqlc.narg(deadline_at))
RETURNING *;

-- name: GetOperation :one
SELECT * FROM operation WHERE id = @id;

-- name: GetOperationForUpdate :one
SELECT * FROM operation WHERE id = @id FOR UPDATE;

-- name: GetOperationByKey :one
SELECT * FROM operation WHERE account_id = @account_id AND idempotency_key = @idempotency_key;

-- name: LockKey :exec
SELECT pg_advisory_xact_lock(hashtextextended(@key::text, 7231));

-- name: LockHolders :many
SELECT l.mode, o.id, o.name, o.title, o.actor, o.state FROM operation_lock l JOIN operation o ON o.id = l.operation_id
WHERE l.kind = @kind AND l.object_id = @object_id;

-- name: InsertLock :exec
INSERT INTO operation_lock (kind, object_id, mode, operation_id, fence) VALUES (@kind, @object_id, @mode, @operation_id, @fence);

-- name: ReleaseLocks :execrows
DELETE FROM operation_lock WHERE operation_id = @operation_id;

-- name: WaitingOperations :many
SELECT * FROM operation WHERE state = 'waiting' AND waiting_for = 'lock' ORDER BY accepted_at, id LIMIT 200 FOR UPDATE SKIP LOCKED;

-- name: GrantWaiting :exec
UPDATE operation SET state = 'accepted', waiting_for = '', fence = @fence, updated_at = now() WHERE id = @id AND state = 'waiting';

-- name: MarkWorkflowStarted :exec
UPDATE operation SET workflow_started = true, updated_at = now() WHERE id = @id AND NOT workflow_started;

-- name: MarkRunning :one
UPDATE operation SET state = @state, started_at = coalesce(started_at, now()), workflow_started = true, updated_at = now()
WHERE id = @id AND state NOT IN ('succeeded', 'failed', 'canceled') RETURNING *;

-- name: FinishOperation :one
UPDATE operation SET state = @state, waiting_for = '', result = @result, plan = @plan, failure = @failure, undone = @undone, digest = @digest,
       ended_at = now(), updated_at = now(), late = false
WHERE id = @id AND state NOT IN ('succeeded', 'failed', 'canceled') RETURNING *;

-- name: RequestCancel :one
UPDATE operation SET cancel_requested = true, updated_at = now()
WHERE id = @id AND state NOT IN ('succeeded', 'failed', 'canceled') RETURNING *;

-- name: OpenOperationsToStart :many
SELECT id FROM operation WHERE state = 'accepted' AND NOT workflow_started AND accepted_at < now() - make_interval(secs => @older_seconds::float8)
ORDER BY accepted_at LIMIT 500;

-- name: OpenOperationsToCheck :many
SELECT id, state, cancel_requested FROM operation WHERE state IN ('accepted', 'running', 'paused') AND workflow_started
  AND updated_at < now() - make_interval(secs => @older_seconds::float8) ORDER BY updated_at LIMIT 500;

-- name: MarkLate :many
UPDATE operation SET late = true, updated_at = now()
WHERE NOT late AND deadline_at < now() AND state IN ('accepted', 'waiting', 'running', 'paused') RETURNING *;

-- name: UpsertStep :exec
INSERT INTO operation_step (operation_id, step, seq, verb, title, host_id, state, attempt, undo, started_at)
VALUES (@operation_id, @step, @seq, @verb, @title, sqlc.narg(host_id), 'running', @attempt, @undo, now())
ON CONFLICT (operation_id, step) DO UPDATE
SET state = 'running', attempt = greatest(operation_step.attempt, excluded.attempt), ended_at = NULL, failure = NULL
WHERE operation_step.source = 'seen';

-- name: EndStep :exec
UPDATE operation_step SET state = @state, failure = @failure, ended_at = now()
WHERE operation_id = @operation_id AND step = @step AND source = 'seen';

-- name: DigestStep :exec
INSERT INTO operation_step (operation_id, step, seq, verb, title, host_id, state, undo, failure, source, ended_at)
VALUES (@operation_id, @step, @seq, @verb, @title, sqlc.narg(host_id), @state, @undo, @failure, 'digest', now())
ON CONFLICT (operation_id, step) DO UPDATE
SET state = excluded.state, failure = excluded.failure, source = 'digest', ended_at = coalesce(operation_step.ended_at, now())
WHERE operation_step.state <> excluded.state;

-- name: SealSteps :exec
UPDATE operation_step SET state = @state, ended_at = coalesce(ended_at, now())
WHERE operation_id = @operation_id AND state IN ('running', 'retrying');

-- name: ListSteps :many
SELECT s.*, h.name AS host_name FROM operation_step s LEFT JOIN host h ON h.id = s.host_id
WHERE s.operation_id = @operation_id ORDER BY s.seq;

-- name: ListOutput :many
SELECT step, run, start_offset, data, at FROM operation_output
WHERE operation_id = @operation_id AND (@step::text = '' OR step = @step) AND start_offset >= @from_offset
ORDER BY step, run, start_offset LIMIT 500;

-- name: InsertSecret :exec
INSERT INTO secret (id, purpose, key_version, sealed) VALUES (@id, @purpose, @key_version, @sealed);

-- name: GetSecret :one
SELECT * FROM secret WHERE id = @id;

-- name: InsertSecretGrant :exec
INSERT INTO secret_grant (secret_id, operation_id, host_id) VALUES (@secret_id, @operation_id, @host_id) ON CONFLICT DO NOTHING;

-- name: DeleteUnusedSecrets :execrows
DELETE FROM secret s WHERE s.purpose = 'operation' AND s.created_at < now() - interval '1 hour'
  AND NOT EXISTS (SELECT FROM instance i WHERE i.dbms_secret_id = s.id)
  AND NOT EXISTS (SELECT FROM schedule c WHERE c.input::text LIKE '%' || s.id::text || '%')
  AND NOT EXISTS (SELECT FROM secret_grant g JOIN operation o ON o.id = g.operation_id
                  WHERE g.secret_id = s.id AND o.state IN ('accepted', 'waiting', 'running', 'paused'));

-- name: InsertNotification :exec
INSERT INTO notification (id, account_id, kind, title, body, severity, operation_id)
VALUES (@id, @account_id, @kind, @title, @body, @severity, sqlc.narg(operation_id));

-- name: CountOperations :many
SELECT state, count(*) AS count FROM operation WHERE state IN ('accepted', 'waiting', 'running', 'paused')
   OR (state IN ('failed', 'succeeded') AND ended_at > now() - interval '24 hours') GROUP BY state;

-- name: DeleteOldOperations :execrows
DELETE FROM operation WHERE id IN (SELECT o.id FROM operation o WHERE o.ended_at < now() - make_interval(days => @days::int) LIMIT 5000);

-- name: DeleteOldOutput :execrows
DELETE FROM operation_output WHERE operation_id IN
  (SELECT o.id FROM operation o WHERE o.ended_at < now() - make_interval(days => @days::int)) ;

-- name: SetSecretPurpose :exec
UPDATE secret SET purpose = @purpose WHERE id = @id;
