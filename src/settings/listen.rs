//! The listeners beside the run API's: staff API with webhook, and operations.

use std::net::SocketAddr;

use secrecy::SecretString;

use super::{Concern, Reader, variables as var};

/// The staff API and the webhook.
#[derive(Debug, Clone)]
pub struct Api {
    /// Where they listen.
    pub listen: SocketAddr,
    /// The staff API's bearer token; without it nobody is answered.
    pub token: Option<SecretString>,
    /// The secret webhooks are signed with; without it there is no webhook.
    pub webhook_secret: Option<SecretString>,
}

/// Health and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ops {
    /// Where they listen.
    pub listen: SocketAddr,
}

impl Concern for Api {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let listen = reader.required(&var::API_LISTEN);
        let token = reader.optional_secret(&var::API_TOKEN);
        let webhook_secret = reader.optional_secret(&var::WEBHOOK_SECRET);
        Some(Self {
            listen: listen?,
            token: token?,
            webhook_secret: webhook_secret?,
        })
    }
}

impl Concern for Ops {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader
            .required(&var::OPS_LISTEN)
            .map(|listen| Self { listen })
    }
}
