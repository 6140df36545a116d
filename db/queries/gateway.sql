-- The gateway's own queries: enrolment, presence, reports, steps, output, secrets under a grant.

-- name: GetEnrollmentToken :one
SELECT t.id, t.host_id, t.expires_at, t.used_at, h.state AS host_state, h.name AS host_name
FROM enrollment_token t JOIN host h ON h.id = t.host_id WHERE t.secret_hash = @secret_hash FOR UPDATE OF t;
