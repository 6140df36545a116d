-- name: InsertSchedule :one
INSERT INTO schedule (id, name, kind, operation_name, input, cron, every_seconds, time_zone, start_at, end_at, jitter_seconds, overlap, catchup_seconds, paused, actor, account_id)
VALUES (@id, @name, @kind, @operation_name, @input, @cron, @every_seconds, @time_zone, sqlc.narg(start_at), sqlc.narg(end_at),
        @jitter_seconds, @overlap, @catchup_seconds, @paused, @actor, sqlc.narg(account_id))
RETURNING *;

-- name: EnsureServiceSchedule :exec
INSERT INTO schedule (id, name, kind, operation_name, every_seconds, jitter_seconds, actor)
VALUES (@id, @name, 'service', @operation_name, @every_seconds, @jitter_seconds, 'pgdrover')
ON CONFLICT (name) DO NOTHING;

-- name: GetSchedule :one
SELECT * FROM schedule WHERE id = @id AND deleted_at IS NULL;

-- name: ListSchedules :many
SELECT * FROM schedule WHERE deleted_at IS NULL ORDER BY kind, name;

-- name: UpdateSchedule :one
UPDATE schedule SET name = @name, operation_name = @operation_name, input = @input, cron = @cron, every_seconds = @every_seconds,
       time_zone = @time_zone, start_at = sqlc.narg(start_at), end_at = sqlc.narg(end_at), jitter_seconds = @jitter_seconds,
       overlap = @overlap, catchup_seconds = @catchup_seconds, revision = revision + 1, updated_at = now()
WHERE id = @id AND deleted_at IS NULL RETURNING *;

-- name: PauseSchedule :one
UPDATE schedule SET paused = @paused, revision = revision + 1, updated_at = now() WHERE id = @id AND deleted_at IS NULL RETURNING *;

-- name: MarkScheduleDeleted :execrows
UPDATE schedule SET deleted_at = now(), name = name || ' (deleted ' || id::text || ')', revision = revision + 1, updated_at = now()
WHERE id = @id AND deleted_at IS NULL AND kind = 'operation';

-- name: SchedulesToApply :many
SELECT * FROM schedule WHERE revision <> applied ORDER BY updated_at LIMIT 500;

-- name: AllSchedules :many
SELECT * FROM schedule;

-- name: MarkScheduleApplied :exec
UPDATE schedule SET applied = @revision WHERE id = @id AND revision = @revision;

-- name: RemoveDeletedSchedule :exec
DELETE FROM schedule WHERE id = @id AND deleted_at IS NOT NULL AND deleted_at < now() - interval '30 days';

-- name: StartRun :exec
INSERT INTO schedule_run (schedule_id, run, at, state, operation_id) VALUES (@schedule_id, @run, @at, @state, sqlc.narg(operation_id))
ON CONFLICT (schedule_id, run) DO NOTHING;

-- name: EndRun :exec
UPDATE schedule_run SET state = @state, summary = @summary, operation_id = coalesce(sqlc.narg(operation_id), operation_id), ended_at = now()
WHERE schedule_id = @schedule_id AND run = @run;

-- name: ListRuns :many
SELECT * FROM schedule_run WHERE schedule_id = @schedule_id ORDER BY at DESC LIMIT @max;

-- name: LastRuns :many
SELECT DISTINCT ON (schedule_id) * FROM schedule_run ORDER BY schedule_id, at DESC;

-- name: DeleteOldRuns :execrows
DELETE FROM schedule_run r WHERE r.at < now() - make_interval(days => @days::int)
  OR (r.state = 'succeeded' AND r.operation_id IS NULL AND r.at < now() - interval '1 day');

-- name: GetSetting :one
SELECT value FROM setting WHERE key = @key;

-- name: PutSetting :exec
INSERT INTO setting (key, value) VALUES (@key, @value) ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now();

-- name: ExpiringCertificates :many
SELECT h.id AS host_id, h.name AS host_name, h.online, max(c.not_after)::timestamptz AS not_after FROM host h JOIN host_certificate c ON c.host_id = h.id
WHERE h.state = 'enrolled' AND c.revoked_at IS NULL GROUP BY h.id, h.name, h.online
HAVING max(c.not_after) < now() + make_interval(days => @days::int);

-- name: AdministratorIDs :many
SELECT id FROM account WHERE role = 'administrator' AND NOT disabled;
