-- Our own write of a label's definition stays until a later read agrees, as on issues.
alter table forge_labels
    add column overlay_at timestamptz,
    add column overlay_until timestamptz;
