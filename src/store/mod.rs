//! The store: everything kept in Postgres.
