-- The first schema. Times are the platform's clock (`platform_now()`) unless a
-- column says that it holds the forge's.

-- The clock: the database's, shifted by tests. In production the shift is zero.
create table clock_offset (
    singleton boolean primary key default true check (singleton),
    shift interval not null default interval '0'
);
insert into clock_offset default values;

create function platform_now() returns timestamptz
    language sql volatile
    as 'select clock_timestamp() + (select shift from clock_offset)';

-- Labels compare as sets, without case and surrounding blanks.
create function same_labels(a jsonb, b jsonb) returns boolean
    language sql immutable
    as $$
        select (select array_agg(distinct lower(btrim(l))) from jsonb_array_elements_text(a) l)
            is not distinct from
            (select array_agg(distinct lower(btrim(l))) from jsonb_array_elements_text(b) l)
    $$;

create type forge_kind as enum ('github');
create type subject_state as enum ('open', 'closed', 'gone');
create type permission as enum ('none', 'read', 'triage', 'write', 'maintain', 'admin');
create type trigger_source as enum ('label', 'review', 'push', 'schedule', 'command');
create type disposition_state as enum ('waiting', 'run', 'merged_into', 'refused', 'withdrawn');
create type run_state as enum (
    'pending', 'preparing', 'running', 'waiting_mcp', 'waiting_owner_review', 'stopping',
    'succeeded', 'failed', 'timed_out', 'cancelled', 'rejected'
);
create type run_outcome as enum ('succeeded', 'failed', 'timed_out', 'cancelled');
create type attempt_state as enum ('starting', 'running', 'reported', 'lost');
create type environment_state as enum ('active', 'retained', 'deleting', 'gone');
create type fact_kind as enum ('heartbeat', 'push', 'result', 'ended');
create type report_state as enum (
    'acting', 'running', 'queued', 'waiting', 'retrying', 'refused', 'withdrawn', 'done',
    'unknown', 'stalled'
);

-- The lease: one row whose key is the epoch. A holder's transaction locks it
-- FOR KEY SHARE; a renewal keeps the key and passes, a takeover changes it and waits.
create table lease (
    epoch bigint primary key,
    singleton boolean not null unique default true check (singleton),
    holder text,
    until timestamptz not null,
    beat bigint not null,
    updated_at timestamptz not null default platform_now()
);
insert into lease (epoch, holder, until, beat) values (0, null, timestamptz 'epoch', 0);

create table config_revisions (
    revision bigint primary key check (revision > 0),
    sha text not null,
    desired jsonb not null,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    applied_at timestamptz
);

-- The newest commit that was refused, until one is accepted.
create table config_candidate (
    singleton boolean primary key default true check (singleton),
    sha text not null,
    errors jsonb not null,
    created_at timestamptz not null default platform_now()
);

create table projects (
    project text primary key,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now()
);

create table members (
    project text not null references projects on delete cascade,
    user_id bigint not null,
    login text not null,
    role text not null,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    primary key (project, user_id, role)
);

-- The forge mirror. `record` is the forge's record as a whole; the columns
-- beside it are what statements ask for.
create table repositories (
    repository_id bigint primary key,
    forge forge_kind not null,
    project text not null,
    configured_name text not null,
    record jsonb not null,
    bound_at timestamptz not null default platform_now(),
    binding_event bigint not null,
    binding_review bigint not null,
    adopt_existing boolean not null,
    cursors jsonb not null,
    unknown text,
    complete boolean not null,
    owner_variable jsonb not null,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now()
);
create index repositories_by_project on repositories (project);
create unique index repositories_one_per_name on repositories (forge, lower(configured_name));

create table forge_identities (
    credential text primary key,
    record jsonb not null,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now()
);

create table forge_permissions (
    repository_id bigint not null references repositories on delete cascade,
    user_id bigint not null,
    permission permission not null,
    read_at timestamptz not null,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    primary key (repository_id, user_id)
);

create table forge_issues (
    repository_id bigint not null references repositories on delete cascade,
    number bigint not null,
    state subject_state not null,
    record jsonb not null,
    overlay_at timestamptz,
    overlay_until timestamptz,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    primary key (repository_id, number),
    check ((overlay_at is null) = (overlay_until is null))
);
create index forge_issues_open on forge_issues (repository_id, number) where state = 'open';

create table forge_events (
    repository_id bigint not null references repositories on delete cascade,
    event_id bigint not null,
    number bigint not null,
    record jsonb not null,
    created_at timestamptz not null default platform_now(),
    primary key (repository_id, event_id)
);
create index forge_events_by_subject on forge_events (repository_id, number);

create table forge_labels (
    repository_id bigint not null references repositories on delete cascade,
    name text not null,
    colour text not null,
    description text not null,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    primary key (repository_id, name)
);

create table forge_pulls (
    repository_id bigint not null references repositories on delete cascade,
    number bigint not null,
    state subject_state not null,
    head text not null,
    record jsonb not null,
    overlay_at timestamptz,
    overlay_until timestamptz,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    primary key (repository_id, number),
    check ((overlay_at is null) = (overlay_until is null))
);
create index forge_pulls_by_head on forge_pulls (repository_id, head);
create index forge_pulls_open on forge_pulls (repository_id, number) where state = 'open';

create table forge_branches (
    repository_id bigint not null references repositories on delete cascade,
    branch text not null,
    head text,
    ours boolean not null,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    primary key (repository_id, branch)
);

create table forge_reviews (
    repository_id bigint not null references repositories on delete cascade,
    review_id bigint not null,
    number bigint not null,
    record jsonb not null,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    primary key (repository_id, review_id)
);
create index forge_reviews_by_subject on forge_reviews (repository_id, number);

-- Comments on issues and comments on diffs have separate id series.
create table forge_comments (
    repository_id bigint not null references repositories on delete cascade,
    on_diff boolean not null,
    comment_id bigint not null,
    number bigint not null,
    record jsonb not null,
    overlay_at timestamptz,
    overlay_until timestamptz,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    primary key (repository_id, on_diff, comment_id),
    check ((overlay_at is null) = (overlay_until is null))
);
create index forge_comments_by_subject on forge_comments (repository_id, number);

create table triggers (
    forge forge_kind not null,
    repository_id bigint not null,
    source trigger_source not null,
    source_id text not null,
    project text not null,
    number bigint not null,
    stage text not null,
    revise boolean not null,
    label text,
    actor jsonb,
    via_app text,
    occurred_at timestamptz not null,
    content_hash text,
    disposition disposition_state not null,
    disposition_run uuid,
    disposition_detail jsonb not null,
    withdrawn_by jsonb,
    settled boolean not null default false,
    first_seen_at timestamptz not null default platform_now(),
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    primary key (forge, repository_id, source, source_id),
    check ((disposition_run is not null) = (disposition in ('run', 'merged_into')))
);
create index triggers_by_subject on triggers (repository_id, number);
create index triggers_unsettled on triggers (project) where not settled;

create table runs (
    run_id uuid primary key,
    forge forge_kind not null,
    repository_id bigint not null,
    source trigger_source not null,
    source_id text not null,
    project text not null,
    number bigint not null,
    work_item bigint not null,
    stage text not null,
    revise boolean not null,
    label text,
    actor jsonb,
    state run_state not null,
    outcome run_outcome,
    reason text,
    held text,
    priority integer not null,
    frozen jsonb,
    branch text,
    slot integer check (slot > 0),
    accepted_head text,
    pull_request bigint,
    result jsonb,
    timeout_at timestamptz,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    preparing_at timestamptz,
    started_at timestamptz,
    stopping_at timestamptz,
    finished_at timestamptz,
    finalized_at timestamptz,
    version bigint not null default 1,
    constraint runs_one_per_trigger unique (forge, repository_id, source, source_id),
    foreign key (forge, repository_id, source, source_id) references triggers,
    constraint runs_active_are_frozen check (
        state not in ('preparing', 'running', 'waiting_mcp', 'waiting_owner_review', 'stopping')
        or (frozen is not null and branch is not null and slot is not null
            and preparing_at is not null)
    ),
    constraint runs_only_active_hold_slots check (
        slot is null
        or state in ('preparing', 'running', 'waiting_mcp', 'waiting_owner_review', 'stopping')
    ),
    constraint runs_stopping_have_outcomes check (state <> 'stopping' or outcome is not null),
    constraint runs_ended_are_finished check (
        (finished_at is not null)
        = (state in ('succeeded', 'failed', 'timed_out', 'cancelled', 'rejected'))
    ),
    constraint runs_finalized_are_finished check (finalized_at is null or finished_at is not null)
);
-- Invariant I5: one active run per work item, per branch, per slot.
create unique index runs_one_active_per_work_item on runs (repository_id, work_item)
    where state in ('preparing', 'running', 'waiting_mcp', 'waiting_owner_review', 'stopping');
create unique index runs_one_active_per_branch on runs (repository_id, branch)
    where state in ('preparing', 'running', 'waiting_mcp', 'waiting_owner_review', 'stopping');
create unique index runs_one_active_per_slot on runs (project, slot)
    where state in ('preparing', 'running', 'waiting_mcp', 'waiting_owner_review', 'stopping');
create index runs_unfinalized on runs (project) where finalized_at is null;
create index runs_by_subject on runs (repository_id, number);
create index runs_by_work_item on runs (repository_id, work_item);
create index runs_by_pull_request on runs (repository_id, pull_request);
create index runs_by_creation on runs (created_at desc, run_id);

create table slots (
    project text not null,
    slot integer not null check (slot > 0),
    run_id uuid not null unique references runs,
    created_at timestamptz not null default platform_now(),
    primary key (project, slot)
);

create table attempts (
    run_id uuid not null references runs,
    attempt integer not null check (attempt > 0),
    state attempt_state not null,
    key_version integer not null,
    job_uid text,
    reason text,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    started_at timestamptz,
    ended_at timestamptz,
    primary key (run_id, attempt)
);

create table environments (
    run_id uuid primary key references runs,
    namespace text not null unique,
    state environment_state not null,
    uid text,
    input_hash text,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    retained_at timestamptz,
    deleting_at timestamptz
);
create index environments_not_gone on environments (run_id) where state <> 'gone';

-- Facts: inserted by API roles, never changed.
create table run_facts (
    fact_id bigint generated always as identity primary key,
    run_id uuid not null references runs,
    attempt integer not null,
    kind fact_kind not null,
    payload jsonb not null,
    created_at timestamptz not null default platform_now(),
    foreign key (run_id, attempt) references attempts
);
create index run_facts_by_attempt on run_facts (run_id, attempt, kind, fact_id);
create unique index run_facts_one_result on run_facts (run_id, attempt) where kind = 'result';

create table push_packs (
    fact_id bigint primary key references run_facts,
    pack bytea not null check (octet_length(pack) <= 67108864),
    created_at timestamptz not null default platform_now()
);

-- What the lease holder made of a push; the agent's request waits for it.
create table push_outcomes (
    fact_id bigint primary key references run_facts,
    outcome jsonb not null,
    created_at timestamptz not null default platform_now()
);

create table log_chunks (
    run_id uuid not null references runs,
    attempt integer not null,
    seq bigint not null check (seq >= 0),
    bytes bytea not null,
    created_at timestamptz not null default platform_now(),
    primary key (run_id, attempt, seq),
    foreign key (run_id, attempt) references attempts
);

create table sessions (
    session_id bigint generated always as identity primary key,
    run_id uuid not null references runs,
    attempt integer not null,
    bytes bytea not null check (octet_length(bytes) <= 67108864),
    created_at timestamptz not null default platform_now(),
    foreign key (run_id, attempt) references attempts
);
create index sessions_by_run on sessions (run_id, session_id desc);

create table effects (
    key text primary key,
    run_id uuid references runs,
    kind text not null,
    attempts integer not null default 0 check (attempts >= 0),
    next_at timestamptz,
    last_error text,
    external_id text,
    content_hash text,
    intended_hash text,
    attempted_at timestamptz,
    done_at timestamptz,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now()
);
create index effects_by_run on effects (run_id);

create table report_lines (
    candidate text primary key,
    project text,
    repository_id bigint,
    number bigint,
    run_id uuid,
    state report_state not null,
    reason text not null,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now()
);
create index report_lines_by_project on report_lines (project);
create index report_lines_by_subject on report_lines (repository_id, number);

-- The audit trail. An effect's event carries key and content hash: at most one each.
create table flow_events (
    event_id bigint generated always as identity primary key,
    kind text not null,
    correlation text not null,
    actor jsonb not null,
    project text,
    run_id uuid,
    repository_id bigint,
    number bigint,
    payload jsonb not null,
    effect_key text,
    effect_hash text,
    created_at timestamptz not null default platform_now(),
    check ((effect_key is null) = (effect_hash is null))
);
create unique index flow_events_one_per_effect on flow_events (effect_key, effect_hash)
    where effect_key is not null;
create index flow_events_by_run on flow_events (run_id, event_id);
create index flow_events_by_subject on flow_events (repository_id, number, event_id);

-- A new fact wakes the reconcilers; of an attempt's heartbeats only the first does.
create function wake_on_fact() returns trigger
    language plpgsql
    as $$
    begin
        if new.kind <> 'heartbeat' or not exists (
            select 1 from run_facts f
            where f.run_id = new.run_id and f.attempt = new.attempt and f.fact_id <> new.fact_id
        ) then
            perform pg_notify('codexk8s_wake', new.run_id::text);
        end if;
        return null;
    end
    $$;
create trigger run_facts_wake after insert on run_facts
    for each row execute function wake_on_fact();
