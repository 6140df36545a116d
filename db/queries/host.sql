-- name: InsertHost :one
INSERT INTO host (id, name, labels) VALUES (@id, @name, @labels) RETURNING *;

-- name: GetHost :one
SELECT * FROM host WHERE id = @id;

-- name: GetHostByName :one
SELECT * FROM host WHERE name = @name;

-- name: UpdateHost :one
UPDATE host SET name = @name, labels = @labels, updated_at = now() WHERE id = @id RETURNING *;

-- name: RevokeHost :one
UPDATE host SET state = 'revoked', online = false, updated_at = now() WHERE id = @id RETURNING *;

-- name: InviteHost :exec
-- A new token takes a revocation back; the certificates of before stay revoked.
UPDATE host SET state = 'invited', updated_at = now() WHERE id = @id AND state = 'revoked';

-- name: DeleteHost :execrows
DELETE FROM host WHERE id = @id;

-- name: InsertEnrollmentToken :exec
INSERT INTO enrollment_token (id, host_id, secret_hash, expires_at) VALUES (@id, @host_id, @secret_hash, @expires_at);

-- name: VoidEnrollmentTokens :exec
UPDATE enrollment_token SET used_at = now() WHERE host_id = @host_id AND used_at IS NULL;

-- name: RevokeCertificates :exec
UPDATE host_certificate SET revoked_at = now() WHERE host_id = @host_id AND revoked_at IS NULL;

-- name: CountHosts :many
SELECT state, online, count(*) AS count FROM host GROUP BY state, online;
