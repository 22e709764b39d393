-- The platform's tools: what agents ask for while they work, and waiting for people.
alter type fact_kind add value 'labels';
alter type fact_kind add value 'wait';
alter type attempt_state add value 'parked';

-- Since when a run waits: its deadline moves by that long when it goes on.
alter table runs add column waiting_since timestamptz;

-- Every call of a tool, granted or not. Arguments are kept without the secrets that are known.
create table tool_calls (
    call_id bigint generated always as identity primary key,
    run_id uuid not null references runs,
    attempt integer not null,
    tool text not null,
    arguments jsonb not null,
    outcome text not null check (outcome in ('ok', 'requested', 'waiting', 'refused', 'failed')),
    detail text,
    created_at timestamptz not null default platform_now()
);
create index tool_calls_by_run on tool_calls (run_id, call_id);
