//! Where rows are kept, and as whom.

use secrecy::SecretString;

use super::{Concern, Reader, variables as var};

/// The two logins of the database.
#[derive(Debug, Clone)]
pub struct Database {
    /// URL of the reconciler's login.
    pub url: SecretString,
    /// URL of the API roles' login; the reconciler's where no other is given.
    pub api_url: SecretString,
    /// Connections kept at most, per login.
    pub max_connections: u32,
}

impl Concern for Database {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let url = reader.required_secret(&var::DATABASE_URL);
        let api_url = reader.optional_secret(&var::API_DATABASE_URL);
        let max_connections = reader.required::<u32>(&var::DATABASE_MAX_CONNECTIONS);
        if max_connections.is_some_and(|count| count < 2) {
            // One connection listens for wake-ups; a second one must be left for work.
            reader.note(&var::DATABASE_MAX_CONNECTIONS, "at least 2 are needed");
        }
        let url = url?;
        Some(Self {
            api_url: api_url?.unwrap_or_else(|| url.clone()),
            url,
            max_connections: max_connections?,
        })
    }
}
