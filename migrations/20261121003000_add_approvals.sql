-- What agents ask for, and what people decide about it.
create type approval_state as enum (
    'requested', 'approved', 'applied', 'failed', 'denied', 'expired', 'withdrawn', 'refused'
);

create table approvals (
    approval_id uuid primary key,
    run_id uuid not null references runs,
    project text not null,
    forge forge_kind not null,
    repository_id bigint not null,
    number bigint not null,
    action text not null,
    target text not null,
    stage text,
    revise boolean,
    agent text not null,
    mode text not null check (mode in ('none', 'delegated', 'owner')),
    locale text not null,
    state approval_state not null,
    code text,
    posting integer not null check (posting > 0),
    after_event bigint not null,
    requested_at timestamptz not null,
    expires_at timestamptz not null,
    decision jsonb,
    reason text,
    settled boolean not null default false,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    check ((stage is null) = (revise is null)),
    constraint approvals_requested_have_codes check (state <> 'requested' or code is not null),
    constraint approvals_granted_are_decided check (
        state not in ('approved', 'applied', 'denied') or decision is not null
    )
);
-- A code names one open request.
create unique index approvals_one_open_per_code on approvals (code) where state = 'requested';
create index approvals_unsettled on approvals (project) where not settled;
create index approvals_by_subject on approvals (repository_id, number);
create index approvals_by_run on approvals (run_id);

-- Decisions by command line and staff API: facts, inserted and never changed.
create table approval_decisions (
    decision_id bigint generated always as identity primary key,
    approval_id uuid not null references approvals,
    code text not null,
    verdict text not null check (verdict in ('approve', 'deny')),
    login text not null check (login <> ''),
    reason text,
    created_at timestamptz not null default platform_now()
);
create index approval_decisions_by_approval on approval_decisions (approval_id, decision_id);

create function wake_on_decision() returns trigger
    language plpgsql
    as $$
    begin
        perform pg_notify('codexk8s_wake', new.approval_id::text);
        return null;
    end
    $$;
create trigger approval_decisions_wake after insert on approval_decisions
    for each row execute function wake_on_decision();
