-- From when on a finished run's logs are not kept any more. Finished runs without that time are
-- few, and are looked at for their age; the table has a row a run, so its index is made in no time.
alter table runs add column logs_expired_at timestamptz;
create index runs_with_logs on runs (finished_at)
    where finished_at is not null and logs_expired_at is null;
