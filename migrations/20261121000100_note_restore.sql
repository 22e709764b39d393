-- When the database was last found to be behind the cluster's copy of the lease: restored
-- from a backup, or made anew.
alter table lease add column restored_at timestamptz;
