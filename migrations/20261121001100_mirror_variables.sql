-- The repository variables that are the platform's by name; those of others are not kept.
create table forge_variables (
    repository_id bigint not null references repositories on delete cascade,
    name text not null,
    value text not null,
    overlay_at timestamptz,
    overlay_until timestamptz,
    created_at timestamptz not null default platform_now(),
    updated_at timestamptz not null default platform_now(),
    primary key (repository_id, name)
);
