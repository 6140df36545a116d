-- +goose Up
-- State columns are text with a CHECK, not enum types: adding a word must not need ALTER TYPE.

CREATE TABLE setting (
    key        text PRIMARY KEY,
    value      jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Sealed with AES-256-GCM under the master key; key_version says which one.
CREATE TABLE secret (
    id          uuid PRIMARY KEY,
    purpose     text NOT NULL,
    key_version integer NOT NULL,
    sealed      bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE account (
    id            uuid PRIMARY KEY,
    login         text NOT NULL UNIQUE CHECK (login = lower(login) AND length(login) BETWEEN 1 AND 100),
    display_name  text NOT NULL DEFAULT '',
    password_hash text NOT NULL,
    role          text NOT NULL CHECK (role IN ('administrator', 'viewer')),
    disabled      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE session (
    id                uuid PRIMARY KEY,
    account_id        uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    access_hash       bytea NOT NULL UNIQUE,
    refresh_hash      bytea NOT NULL UNIQUE,
    -- The refresh token before the present one: its use means that a token was stolen, and ends the session.
    previous_hash     bytea,
    access_expires_at timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    remote_address    text NOT NULL DEFAULT '',
    user_agent        text NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT now(),
    used_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX session_account ON session (account_id);

-- Failures of sign-in by key (login or address); in the repository so that all managers agree.
CREATE TABLE login_failure (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key    text NOT NULL,
    at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX login_failure_key ON login_failure (key, at);

CREATE TABLE host (
    id            uuid PRIMARY KEY,
    name          text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
    labels        jsonb NOT NULL DEFAULT '{}',
    -- invited: token made, agent not seen yet.
    state         text NOT NULL DEFAULT 'invited' CHECK (state IN ('invited', 'enrolled', 'revoked')),
    machine_id    text NOT NULL DEFAULT '',
    agent_version text NOT NULL DEFAULT '',
    capabilities  text[] NOT NULL DEFAULT '{}',
    facts         jsonb,
    facts_at      timestamptz,
    online        boolean NOT NULL DEFAULT false,
    -- Which gateway holds the agent's connection, and until when that is believed.
    gateway_id    uuid,
    seen_at       timestamptz,
    report_epoch  text NOT NULL DEFAULT '',
    report_seq    bigint NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE enrollment_token (
    id          uuid PRIMARY KEY,
    host_id     uuid NOT NULL REFERENCES host ON DELETE CASCADE,
    secret_hash bytea NOT NULL UNIQUE,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE host_certificate (
    serial     text PRIMARY KEY,
    host_id    uuid NOT NULL REFERENCES host ON DELETE CASCADE,
    not_before timestamptz NOT NULL,
    not_after  timestamptz NOT NULL,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX host_certificate_host ON host_certificate (host_id);

CREATE TABLE instance (
    id                uuid PRIMARY KEY,
    host_id           uuid NOT NULL REFERENCES host ON DELETE CASCADE,
    name              text NOT NULL,
    labels            jsonb NOT NULL DEFAULT '{}',
    -- discovered: seen by an agent, not managed yet. managed: created or adopted.
    management        text NOT NULL DEFAULT 'discovered' CHECK (management IN ('discovered', 'managed', 'ignored')),
    status            text NOT NULL DEFAULT 'unknown'
                      CHECK (status IN ('unknown', 'creating', 'running', 'starting', 'stopped', 'crashed', 'missing')),
    data_directory    text NOT NULL,
    system_identifier text NOT NULL DEFAULT '',
    port              integer NOT NULL DEFAULT 0,
    socket_dir        text NOT NULL DEFAULT '',
    bin_dir           text NOT NULL DEFAULT '',
    os_user           text NOT NULL DEFAULT '',
    unit              text NOT NULL DEFAULT '',
    version           text NOT NULL DEFAULT '',
    edition           text NOT NULL DEFAULT '',
    role              text NOT NULL DEFAULT '',
    pid               integer NOT NULL DEFAULT 0,
    started_at        timestamptz,
    size_bytes        bigint NOT NULL DEFAULT -1,
    conflict          text NOT NULL DEFAULT '',
    dbms_user         text NOT NULL DEFAULT '',
    dbms_database     text NOT NULL DEFAULT 'postgres',
    dbms_secret_id    uuid REFERENCES secret,
    status_at         timestamptz NOT NULL DEFAULT now(),
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (host_id, data_directory)
);
CREATE UNIQUE INDEX instance_name ON instance (name) WHERE management = 'managed';
CREATE INDEX instance_lease ON instance (system_identifier, data_directory);
CREATE INDEX instance_list ON instance (name, id);

CREATE SEQUENCE operation_fence;

CREATE TABLE operation (
    id               uuid PRIMARY KEY,
    name             text NOT NULL,
    title            text NOT NULL,
    state            text NOT NULL CHECK (state IN ('accepted', 'waiting', 'running', 'paused', 'succeeded', 'failed', 'canceled')),
    -- What a waiting operation waits for: lock.
    waiting_for      text NOT NULL DEFAULT '',
    risk             text NOT NULL,
    target_kind      text NOT NULL,
    target_id        uuid,
    target_name      text NOT NULL DEFAULT '',
    host_id          uuid,
    object_id        uuid,
    dry_run          boolean NOT NULL DEFAULT false,
    input            jsonb NOT NULL,
    locks            jsonb NOT NULL DEFAULT '[]',
    fence            bigint NOT NULL DEFAULT 0,
    result           jsonb,
    plan             jsonb,
    failure          jsonb,
    undone           text NOT NULL DEFAULT '',
    actor            text NOT NULL,
    account_id       uuid,
    schedule_id      uuid,
    retry_of         uuid,
    idempotency_key  text,
    -- Fingerprint of the request an idempotency key belongs to.
    request_hash     bytea,
    cancel_requested boolean NOT NULL DEFAULT false,
    workflow_started boolean NOT NULL DEFAULT false,
    deadline_at      timestamptz,
    late             boolean NOT NULL DEFAULT false,
    digest           bytea,
    accepted_at      timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    ended_at         timestamptz,
    updated_at       timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX operation_idempotency ON operation (account_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX operation_list ON operation (accepted_at DESC, id DESC);
CREATE INDEX operation_open ON operation (state) WHERE state IN ('accepted', 'waiting', 'running', 'paused');
CREATE INDEX operation_target ON operation (target_id, accepted_at DESC);
CREATE INDEX operation_object ON operation (object_id, accepted_at DESC);
CREATE INDEX operation_host ON operation (host_id, accepted_at DESC);

CREATE TABLE operation_lock (
    kind         text NOT NULL,
    object_id    text NOT NULL,
    mode         text NOT NULL CHECK (mode IN ('exclusive', 'shared')),
    operation_id uuid NOT NULL REFERENCES operation ON DELETE CASCADE,
    fence        bigint NOT NULL,
    taken_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, object_id, operation_id)
);
CREATE UNIQUE INDEX operation_lock_exclusive ON operation_lock (kind, object_id) WHERE mode = 'exclusive';
CREATE INDEX operation_lock_operation ON operation_lock (operation_id);

CREATE TABLE operation_step (
    operation_id uuid NOT NULL REFERENCES operation ON DELETE CASCADE,
    step         text NOT NULL,
    seq          integer NOT NULL,
    verb         text NOT NULL,
    title        text NOT NULL,
    host_id      uuid,
    state        text NOT NULL CHECK (state IN ('running', 'completed', 'failed', 'canceled', 'retrying')),
    attempt      integer NOT NULL DEFAULT 1,
    undo         boolean NOT NULL DEFAULT false,
    progress     jsonb,
    failure      jsonb,
    -- digest: the row was missing or differed and was mended from the workflow's own account at the end.
    source       text NOT NULL DEFAULT 'seen' CHECK (source IN ('seen', 'digest')),
    started_at   timestamptz,
    ended_at     timestamptz,
    PRIMARY KEY (operation_id, step)
);

CREATE TABLE operation_output (
    operation_id uuid NOT NULL REFERENCES operation ON DELETE CASCADE,
    step         text NOT NULL,
    run          integer NOT NULL,
    start_offset bigint NOT NULL,
    data         bytea NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (operation_id, step, run, start_offset)
);

-- Which secrets the agents of an operation may fetch while it lives.
CREATE TABLE secret_grant (
    secret_id    uuid NOT NULL REFERENCES secret ON DELETE CASCADE,
    operation_id uuid NOT NULL REFERENCES operation ON DELETE CASCADE,
    host_id      uuid NOT NULL,
    PRIMARY KEY (secret_id, operation_id, host_id)
);

CREATE TABLE audit (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT now(),
    actor          text NOT NULL,
    account_id     uuid,
    remote_address text NOT NULL DEFAULT '',
    action         text NOT NULL,
    target_kind    text NOT NULL DEFAULT '',
    target_id      text NOT NULL DEFAULT '',
    target_name    text NOT NULL DEFAULT '',
    result         text NOT NULL CHECK (result IN ('accepted', 'done', 'refused', 'failed')),
    operation_id   uuid,
    detail         jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_at ON audit (at DESC, id DESC);

CREATE TABLE notification (
    id           uuid PRIMARY KEY,
    account_id   uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    at           timestamptz NOT NULL DEFAULT now(),
    kind         text NOT NULL,
    title        text NOT NULL,
    body         text NOT NULL DEFAULT '',
    severity     text NOT NULL DEFAULT 'info' CHECK (severity IN ('info', 'success', 'warning', 'error')),
    operation_id uuid REFERENCES operation ON DELETE CASCADE,
    read_at      timestamptz
);
CREATE INDEX notification_account ON notification (account_id, at DESC);
CREATE INDEX notification_unread ON notification (account_id) WHERE read_at IS NULL;

CREATE TABLE schedule (
    id              uuid PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    -- operation: admits an operation. service: runs one of the manager's own tasks.
    kind            text NOT NULL CHECK (kind IN ('operation', 'service')),
    operation_name  text NOT NULL,
    input           jsonb NOT NULL DEFAULT '{}',
    cron            text NOT NULL DEFAULT '',
    every_seconds   integer NOT NULL DEFAULT 0,
    time_zone       text NOT NULL DEFAULT 'UTC',
    start_at        timestamptz,
    end_at          timestamptz,
    jitter_seconds  integer NOT NULL DEFAULT 0,
    overlap         text NOT NULL DEFAULT 'skip' CHECK (overlap IN ('skip', 'queue', 'allow')),
    catchup_seconds integer NOT NULL DEFAULT 600,
    paused          boolean NOT NULL DEFAULT false,
    -- Rises with every change; the derived Temporal Schedule carries the number it was made from.
    revision        bigint NOT NULL DEFAULT 1,
    applied         bigint NOT NULL DEFAULT 0,
    actor           text NOT NULL,
    account_id      uuid,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    deleted_at      timestamptz,
    CHECK ((cron <> '') <> (every_seconds > 0))
);

CREATE TABLE schedule_run (
    schedule_id  uuid NOT NULL REFERENCES schedule ON DELETE CASCADE,
    -- The id of the Temporal workflow the run belongs to: told twice is one run.
    run          text NOT NULL,
    at           timestamptz NOT NULL,
    ended_at     timestamptz,
    state        text NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'skipped')),
    operation_id uuid,
    summary      text NOT NULL DEFAULT '',
    PRIMARY KEY (schedule_id, run)
);
CREATE INDEX schedule_run_at ON schedule_run (schedule_id, at DESC);

-- +goose Down
SELECT 1;
