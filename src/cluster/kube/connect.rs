//! From a setting to a client.
//!
//! Nothing is guessed: no kubeconfig is looked for in home folders, so that a
//! process never talks to a cluster that nobody named.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{self, HeaderValue};
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use secrecy::SecretString;
use thiserror::Error;

use super::KubeOptions;

/// What a silent server is given beyond the length of a watch.
const READ_MARGIN: Duration = Duration::from_secs(10);

/// Where the API server is and who we are to it.
#[derive(Debug, Clone)]
pub enum Connection {
    /// A kubeconfig file.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context; the file's current one where none is named.
        context: Option<String>,
    },
    /// The pod's own ServiceAccount.
    InCluster,
    /// An address and a bearer token.
    Url {
        /// The address.
        url: String,
        /// The token.
        token: SecretString,
    },
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("kubeconfig {path:?} cannot be used")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// This process does not run in a cluster.
    #[error("the pod's own credentials cannot be used")]
    InCluster(#[source] Box<InClusterError>),
    /// The address is not one.
    #[error("cluster address {url:?} is not an address")]
    Url {
        /// What was given.
        url: String,
        /// Why not.
        #[source]
        source: http::uri::InvalidUri,
    },
    /// What we call ourselves is no header.
    #[error("the user agent is not usable")]
    UserAgent {
        /// Why not.
        #[source]
        source: http::header::InvalidHeaderValue,
    },
    /// The client cannot be built, for example for lack of a certificate.
    #[error("the cluster client cannot be built")]
    Client(#[source] Box<kube::Error>),
}

/// Builds the client that all calls share.
pub(super) async fn client(
    connection: &Connection,
    options: &KubeOptions,
) -> Result<Client, ConnectError> {
    let mut config = config(connection).await?;
    config.connect_timeout = Some(options.request_timeout);
    config.write_timeout = Some(options.request_timeout);
    // Watches are silent for up to their own length; single requests have the
    // shorter time-out around them.
    config.read_timeout = Some(options.watch_timeout + READ_MARGIN);
    config.reset_reader_on_write = true;
    // A retry inside the client would send after the write gate was asked.
    config.default_retry = false;
    let agent = HeaderValue::from_str(&options.user_agent);
    let agent = agent.map_err(|source| ConnectError::UserAgent { source })?;
    config.headers.push((header::USER_AGENT, agent));
    Client::try_from(config).map_err(|source| ConnectError::Client(Box::new(source)))
}

async fn config(connection: &Connection) -> Result<Config, ConnectError> {
    match connection {
        Connection::InCluster => {
            Config::incluster().map_err(|source| ConnectError::InCluster(Box::new(source)))
        }
        Connection::Url { url, token } => {
            let uri = url.parse().map_err(|source| ConnectError::Url {
                url: url.clone(),
                source,
            })?;
            let mut config = Config::new(uri);
            config.auth_info.token = Some(token.clone());
            Ok(config)
        }
        Connection::Kubeconfig { path, context } => {
            let fail = |source| ConnectError::Kubeconfig {
                path: path.clone(),
                source: Box::new(source),
            };
            let file = Kubeconfig::read_from(path).map_err(fail)?;
            let options = KubeConfigOptions {
                context: context.clone(),
                ..KubeConfigOptions::default()
            };
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(fail)
        }
    }
}
