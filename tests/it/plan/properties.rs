//! Laws over random worlds.
