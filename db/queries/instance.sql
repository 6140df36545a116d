-- name: GetInstance :one
SELECT * FROM instance WHERE id = @id;

-- name: GetInstanceRow :one
SELECT i.*, h.name AS host_name, h.online AS host_online FROM instance i JOIN host h ON h.id = i.host_id WHERE i.id = @id;

-- name: RegisterInstance :exec
INSERT INTO instance (id, host_id, name, management, status, data_directory, port, socket_dir, bin_dir, os_user, unit, version, edition,
                      dbms_user, dbms_database, dbms_secret_id)
VALUES (@id, @host_id, @name, 'managed', @status, @data_directory, @port, @socket_dir, @bin_dir, @os_user, @unit, @version, @edition,
        @dbms_user, @dbms_database, sqlc.narg(dbms_secret_id))
ON CONFLICT (id) DO NOTHING;

-- name: DropDiscovered :exec
DELETE FROM instance WHERE host_id = @host_id AND data_directory = @data_directory AND management = 'discovered' AND id <> @id;

-- name: AdoptInstance :execrows
UPDATE instance SET management = 'managed', name = @name, dbms_user = @dbms_user, dbms_database = @dbms_database,
       dbms_secret_id = sqlc.narg(dbms_secret_id), updated_at = now()
WHERE id = @id;

-- name: ObserveInstance :execrows
UPDATE instance SET status = @status, pid = @pid, started_at = sqlc.narg(started_at), port = CASE WHEN @port::int > 0 THEN @port ELSE port END,
       version = CASE WHEN @version::text <> '' THEN @version ELSE version END,
       role = CASE WHEN @role::text <> '' THEN @role ELSE role END,
       socket_dir = CASE WHEN @socket_dir::text <> '' THEN @socket_dir ELSE socket_dir END,
       system_identifier = CASE WHEN @system_identifier::text <> '' THEN @system_identifier ELSE system_identifier END,
       status_at = now(), updated_at = now()
WHERE id = @id;

-- name: DeleteInstance :execrows
DELETE FROM instance WHERE id = @id;

-- name: UpdateInstance :one
UPDATE instance SET name = @name, labels = @labels, updated_at = now() WHERE id = @id RETURNING *;

-- name: CountInstances :many
SELECT management, status, count(*) AS count FROM instance GROUP BY management, status;

-- name: OpenOperationOf :many
SELECT DISTINCT ON (object_id) object_id, id, title, state FROM operation
WHERE object_id = ANY(@ids::uuid[]) AND state IN ('accepted', 'waiting', 'running', 'paused') AND NOT dry_run
ORDER BY object_id, accepted_at;
