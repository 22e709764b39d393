//! Process settings: a YAML file first, then `CODEXK8S_*` variables over it.
//!
//! One struct per concern; one registry of variables ([`variables`]) from which
//! file keys, environment names, defaults and the reference page all come.
//! Loading collects every problem before it answers, and starts nothing. What
//! teams commit to the config repo is not here: see `desired`.
//!
//! Invariants: only this room and `cli` read the process environment; a secret
//! is a [`secrecy::SecretString`] from the moment it is read, and no error
//! repeats its value.
//!
//! ```text
//! file (--config / CODEXK8S_CONFIG) ─┐
//!                                    ├─► Reader ─► one struct per concern ─► relations checked
//! CODEXK8S_* and CODEXK8S_*_FILE ────┘      └► every problem, together
//! ```

mod cluster;
mod config_repo;
mod database;
mod error;
mod forge;
mod listen;
mod logging;
mod reader;
pub mod reference;
mod replica;
mod run;
mod source;
mod timing;
mod value;
pub mod variables;

#[cfg(test)]
mod tests;

pub use cluster::Cluster;
pub use config_repo::{ConfigLocation, ConfigRef, ConfigRepo};
pub use database::Database;
pub use error::{Problem, SettingsError};
pub use forge::{AppCredential, Forge, ForgeCredential};
pub use listen::{Api, Ops};
pub use logging::{LogFormat, Logging};
pub use reader::Reader;
pub use replica::ReplicaName;
pub use run::{PullPolicy, Run, TokenKey, TokenKeys};
pub use source::{Sources, colours_wanted};
pub use timing::{Profile, Timing};

use crate::domain::ids::InstallationId;

/// Everything that `serve` is told from outside its config repo.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which installation this is.
    pub installation: InstallationId,
    /// What this process is called among its like.
    pub replica: ReplicaName,
    /// Where rows are kept.
    pub database: Database,
    /// Where desired state is read from.
    pub config: ConfigRepo,
    /// The forge and who we are there.
    pub forge: Forge,
    /// The cluster that runs work in.
    pub cluster: Cluster,
    /// The run API and what its pods are told.
    pub run: Run,
    /// The staff API and the webhook.
    pub api: Api,
    /// Health and metrics.
    pub ops: Ops,
    /// Periods, time-outs and the lease.
    pub timing: Timing,
    /// Log lines.
    pub logging: Logging,
}

/// A part of the settings that can be read alone, for commands that need no more.
pub trait Concern: Sized {
    /// Reads the part; `None` once a problem was noted in the reader.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;
}

/// Reads one part, or several as a tuple, or all as [`Settings`].
pub fn load<T: Concern>(sources: &Sources) -> Result<T, SettingsError> {
    let mut reader = Reader::new(sources);
    let part = T::read(&mut reader);
    reader.finish(part)
}

impl Concern for InstallationId {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.required(&variables::INSTALLATION_ID)
    }
}

impl<A: Concern, B: Concern> Concern for (A, B) {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (first, second) = (A::read(reader), B::read(reader));
        Some((first?, second?))
    }
}

impl Concern for Settings {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        // Every part is read before the first `?`, so that all problems are found.
        let installation = InstallationId::read(reader);
        let replica = ReplicaName::read(reader);
        let database = Database::read(reader);
        let config = ConfigRepo::read(reader);
        let forge = Forge::read(reader);
        let cluster = Cluster::read(reader);
        let run = Run::read(reader);
        let api = Api::read(reader);
        let ops = Ops::read(reader);
        let timing = Timing::read(reader);
        let logging = Logging::read(reader);
        let settings = Self {
            installation: installation?,
            replica: replica?,
            database: database?,
            config: config?,
            forge: forge?,
            cluster: cluster?,
            run: run?,
            api: api?,
            ops: ops?,
            timing: timing?,
            logging: logging?,
        };
        settings.check(reader);
        Some(settings)
    }
}

impl Settings {
    /// Loads everything.
    pub fn load(sources: &Sources) -> Result<Self, SettingsError> {
        load(sources)
    }

    /// Relations between concerns.
    fn check(&self, reader: &mut Reader<'_>) {
        // Port 0 is a port of its own at each listener.
        let listeners = [
            (&variables::RUN_LISTEN, self.run.listen),
            (&variables::API_LISTEN, self.api.listen),
            (&variables::OPS_LISTEN, self.ops.listen),
        ];
        for (index, (variable, address)) in listeners.iter().enumerate() {
            let taken = listeners[..index]
                .iter()
                .find(|(_, other)| address.port() != 0 && other == address);
            if let Some((other, _)) = taken {
                reader.note(
                    variable,
                    format!(
                        "`{address}` is also that of {}; each listener needs its own",
                        other.name
                    ),
                );
            }
        }
    }
}
