//! The forge port and its providers.
