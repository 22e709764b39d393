//! Applies planned actions; decides nothing.
