-- The gateway's own queries: enrolment, presence, reports, steps, output, secrets under a grant.

-- name: GetEnrollmentToken :one
SELECT t.id, t.host_id, t.expires_at, t.used_at, h.state AS host_state, h.name AS host_name
FROM enrollment_token t JOIN host h ON h.id = t.host_id WHERE t.secret_hash = @secret_hash FOR UPDATE OF t;

-- name: UseEnrollmentToken :execrows
UPDATE enrollment_token SET used_at = now() WHERE id = @id AND used_at IS NULL;

-- name: InsertCertificate :exec
INSERT INTO host_certificate (serial, host_id, not_before, not_after) VALUES (@serial, @host_id, @not_before, @not_after);

-- name: EnrollHost :execrows
UPDATE host SET state = 'enrolled', machine_id = @machine_id, agent_version = @agent_version, updated_at = now()
WHERE id = @id AND state <> 'revoked';

-- name: CertificateState :one
SELECT c.host_id, h.name AS host_name, h.state AS host_state, (c.revoked_at IS NULL AND h.state = 'enrolled')::boolean AS good
FROM host_certificate c JOIN host h ON h.id = c.host_id WHERE c.serial = @serial;

-- name: GoodCertificates :many
SELECT c.serial FROM host_certificate c JOIN host h ON h.id = c.host_id
WHERE c.serial = ANY (@serials::text[]) AND c.revoked_at IS NULL AND h.state = 'enrolled';

-- name: HostOnline :one
-- updated_at stays: it belongs to what people edit.
WITH old AS (SELECT o.id, o.online FROM host o WHERE o.id = @id AND o.state = 'enrolled' FOR UPDATE)
UPDATE host h SET online = true, gateway_id = @gateway_id, seen_at = now() FROM old WHERE h.id = old.id
RETURNING old.online AS was_online;

-- name: HostsOffline :many
-- A host that another gateway has in the meantime stays online.
UPDATE host SET online = false WHERE id = ANY (@ids::uuid[]) AND gateway_id = @gateway_id AND online RETURNING id;

-- name: RefreshPresence :many
-- Nothing is taken from another gateway that is alive, or two would toss a host to and fro.
WITH held AS (
    SELECT o.id, o.online FROM host o
    WHERE o.id = ANY (@ids::uuid[]) AND o.state = 'enrolled'
      AND (o.gateway_id = @gateway_id OR NOT o.online OR o.seen_at < now() - make_interval(secs => @stale_seconds::float8))
    ORDER BY o.id FOR UPDATE)
UPDATE host h SET online = true, gateway_id = @gateway_id, seen_at = now() FROM held WHERE h.id = held.id
RETURNING h.id, held.online AS was_online;

-- name: SweepPresence :many
UPDATE host SET online = false
WHERE online AND (seen_at IS NULL OR seen_at < now() - make_interval(secs => @stale_seconds::float8)) RETURNING id;

-- name: NotifyEvents :exec
SELECT pg_notify('pgdrover_event', p) FROM unnest(@payloads::text[]) AS p;

-- name: NotifyGateways :exec
SELECT pg_notify('pgdrover_gateway', @payload::text);

-- name: HostForReport :one
SELECT id, name, state, machine_id, report_epoch, report_seq FROM host WHERE id = @id FOR UPDATE;

-- name: StoreReportSeq :exec
UPDATE host SET report_epoch = @report_epoch, report_seq = @report_seq WHERE id = @id;

-- name: StoreFacts :exec
UPDATE host SET facts = @facts, facts_at = least(@facts_at::timestamptz, now()), agent_version = @agent_version, capabilities = @capabilities,
       machine_id = CASE WHEN @machine_id::text <> '' THEN @machine_id ELSE machine_id END
WHERE id = @id;

-- name: InstancesOfHost :many
SELECT * FROM instance WHERE host_id = @host_id ORDER BY id FOR UPDATE;

-- name: InstanceNames :many
SELECT name FROM instance WHERE starts_with(name, @base::text);

-- name: LeaseHolders :many
-- Instances that the agents of other host records on the same machine hold.
SELECT i.data_directory, i.system_identifier, i.created_at, h.name AS host_name FROM instance i JOIN host h ON h.id = i.host_id
WHERE h.id <> @host_id AND h.machine_id = @machine_id AND h.state = 'enrolled' AND i.conflict = '' AND i.status <> 'missing'
  AND i.system_identifier <> '' AND i.data_directory = ANY (@directories::text[]);

-- name: InsertDiscovered :exec
INSERT INTO instance (id, host_id, name, management, status, data_directory, system_identifier, port, socket_dir, bin_dir, os_user, unit,
                      version, edition, role, pid, started_at, size_bytes, conflict)
VALUES (@id, @host_id, @name, 'discovered', @status, @data_directory, @system_identifier, @port, @socket_dir, @bin_dir, @os_user, @unit,
        @version, @edition, @role, @pid, sqlc.narg(started_at), @size_bytes, @conflict)
ON CONFLICT (host_id, data_directory) DO NOTHING;

-- name: UpdateReported :exec
-- updated_at stays: it belongs to what people edit.
UPDATE instance SET status = @status, system_identifier = @system_identifier, port = @port, socket_dir = @socket_dir, bin_dir = @bin_dir,
       os_user = @os_user, unit = @unit, version = @version, edition = @edition, role = @role, pid = @pid, started_at = sqlc.narg(started_at),
       size_bytes = @size_bytes, conflict = @conflict, status_at = CASE WHEN status = @status THEN status_at ELSE now() END
WHERE id = @id;

-- name: MarkInstancesMissing :many
-- A change of the last seconds was made by an operation that the report could not know of.
UPDATE instance SET status = 'missing', pid = 0, status_at = now()
WHERE host_id = @host_id AND management <> 'discovered' AND status NOT IN ('missing', 'creating')
  AND NOT data_directory = ANY (@reported::text[]) AND status_at < now() - make_interval(secs => @settled_seconds::float8)
RETURNING id;

-- name: DeleteVanishedInstances :many
DELETE FROM instance WHERE host_id = @host_id AND management = 'discovered' AND NOT data_directory = ANY (@reported::text[]) RETURNING id;

-- name: ManagedInstances :many
SELECT id, data_directory, dbms_user, dbms_database, dbms_secret_id FROM instance
WHERE host_id = @host_id AND management = 'managed' ORDER BY id;

-- name: SecretForHost :one
SELECT s.* FROM secret s WHERE s.id = @id
  AND (EXISTS (SELECT FROM secret_grant g JOIN operation o ON o.id = g.operation_id
               WHERE g.secret_id = s.id AND g.host_id = @host_id AND g.operation_id = sqlc.narg(operation_id)
                 AND o.state IN ('accepted', 'waiting', 'running', 'paused'))
    OR EXISTS (SELECT FROM instance i WHERE i.dbms_secret_id = s.id AND i.host_id = @host_id AND i.management = 'managed'));

-- name: OutputWanted :one
-- handed: this gateway has just given the host a step of the operation, the row of which may not be written yet.
SELECT EXISTS (SELECT FROM operation o WHERE o.id = @operation_id
  AND (o.ended_at IS NULL OR o.ended_at > now() - interval '1 hour')
  AND (@handed::boolean OR o.host_id = @host_id
    OR EXISTS (SELECT FROM operation_step s WHERE s.operation_id = o.id AND s.host_id = @host_id)))::boolean;

-- name: OutputSize :one
SELECT coalesce(sum(length(data)), 0)::bigint FROM operation_output WHERE operation_id = @operation_id;

-- name: InsertOutput :execrows
INSERT INTO operation_output (operation_id, step, run, start_offset, data)
VALUES (@operation_id, @step, @run, @start_offset, @data) ON CONFLICT DO NOTHING;

-- name: StepStarted :execrows
-- The rows of a finished operation are its digest's.
INSERT INTO operation_step (operation_id, step, seq, verb, title, host_id, state, attempt, undo, started_at)
SELECT o.id, @step::text, @seq::int, @verb::text, @title::text, sqlc.narg(host_id)::uuid, 'running', @attempt::int, @undo::boolean, @at::timestamptz
FROM operation o
WHERE o.id = @operation_id AND o.state IN ('accepted', 'waiting', 'running', 'paused')
ON CONFLICT (operation_id, step) DO UPDATE
SET state = 'running', attempt = excluded.attempt, failure = NULL, ended_at = NULL,
    started_at = coalesce(operation_step.started_at, excluded.started_at)
WHERE operation_step.source = 'seen' AND operation_step.attempt <= excluded.attempt;

-- name: StepProgress :execrows
UPDATE operation_step SET progress = @progress
WHERE operation_id = @operation_id AND step = @step AND attempt = @attempt AND source = 'seen' AND state = 'running';

-- name: StepEnded :execrows
UPDATE operation_step SET state = @state, failure = @failure, ended_at = CASE WHEN @state = 'retrying' THEN NULL ELSE @at::timestamptz END
WHERE operation_id = @operation_id AND step = @step AND attempt = @attempt AND source = 'seen'
  AND EXISTS (SELECT FROM operation o WHERE o.id = operation_id AND o.state IN ('accepted', 'waiting', 'running', 'paused'));
