-- name: InsertAccount :one
INSERT INTO account (id, login, display_name, password_hash, role) VALUES (@id, @login, @display_name, @password_hash, @role) RETURNING *;

-- name: CountAccounts :one
SELECT count(*) FROM account;

-- name: GetAccount :one
SELECT * FROM account WHERE id = @id;

-- name: GetAccountByLogin :one
SELECT * FROM account WHERE login = lower(@login);

-- name: SetPassword :exec
UPDATE account SET password_hash = @password_hash, updated_at = now() WHERE id = @id;

-- name: InsertSession :one
INSERT INTO session (id, account_id, access_hash, refresh_hash, access_expires_at, expires_at, remote_address, user_agent)
VALUES (@id, @account_id, @access_hash, @refresh_hash, @access_expires_at, @expires_at, @remote_address, @user_agent) RETURNING *;

-- name: SessionByAccess :one
SELECT s.id AS session_id, s.access_expires_at, a.* FROM session s JOIN account a ON a.id = s.account_id
WHERE s.access_hash = @access_hash AND s.access_expires_at > now() AND s.expires_at > now() AND NOT a.disabled;

-- name: SessionByRefresh :one
SELECT s.* FROM session s JOIN account a ON a.id = s.account_id
WHERE (s.refresh_hash = @refresh_hash OR s.previous_hash = @refresh_hash) AND s.expires_at > now() AND NOT a.disabled FOR UPDATE OF s;

-- name: RotateSession :exec
UPDATE session SET access_hash = @access_hash, previous_hash = refresh_hash, refresh_hash = @refresh_hash,
       access_expires_at = @access_expires_at, used_at = now() WHERE id = @id;

-- name: DeleteSession :execrows
DELETE FROM session WHERE id = @id;

-- name: DeleteExpiredSessions :execrows
DELETE FROM session WHERE expires_at < now();

-- name: ListSessions :many
SELECT id, remote_address, user_agent, created_at, used_at, expires_at FROM session WHERE account_id = @account_id AND expires_at > now() ORDER BY used_at DESC;

-- name: InsertLoginFailure :exec
INSERT INTO login_failure (key) VALUES (@key);

-- name: CountLoginFailures :one
SELECT count(*) FROM login_failure WHERE key = @key AND at > now() - interval '15 minutes';

-- name: DeleteLoginFailures :exec
DELETE FROM login_failure WHERE key = @key;

-- name: DeleteOldLoginFailures :execrows
DELETE FROM login_failure WHERE at < now() - interval '1 day';

-- name: ListNotifications :many
SELECT * FROM notification WHERE account_id = @account_id AND (NOT @unread::bool OR read_at IS NULL) ORDER BY at DESC LIMIT @max;

-- name: CountUnread :one
SELECT count(*) FROM notification WHERE account_id = @account_id AND read_at IS NULL;

-- name: ReadNotifications :execrows
UPDATE notification SET read_at = now() WHERE account_id = @account_id AND read_at IS NULL AND (@everything::bool OR id = ANY(@ids::uuid[]));

-- name: DeleteOldNotifications :execrows
DELETE FROM notification WHERE at < now() - make_interval(days => @days::int);

-- name: DeleteOldAudit :execrows
DELETE FROM audit WHERE at < now() - make_interval(days => @days::int);
