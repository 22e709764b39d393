-- What runs used of models: one row a call, written by the run API when the answer has ended.
-- Unknown numbers are null, never zero. `cost` is in millionths of the installation's currency.
create table model_calls (
    call_id bigint generated always as identity primary key,
    run_id uuid not null references runs,
    attempt integer not null,
    project text not null,
    provider text not null,
    model text not null,
    status integer,
    input_tokens bigint check (input_tokens >= 0),
    cached_tokens bigint check (cached_tokens >= 0),
    output_tokens bigint check (output_tokens >= 0),
    cost bigint check (cost >= 0),
    started_at timestamptz not null,
    created_at timestamptz not null default platform_now()
);
create index model_calls_by_run on model_calls (run_id);
create index model_calls_by_project on model_calls (project, created_at);

-- A launched run carries its agent's program instead of a bare command.
update runs set frozen = (frozen - 'command')
    || jsonb_build_object('cli', jsonb_build_object(
        'command', frozen->'command', 'homeVariable', 'CODEX_HOME'))
where frozen ? 'command';
