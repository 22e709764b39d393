//! Triggers: the facts at the forge that ask for a run, and what became of each.
//!
//! A trigger's identity never changes and names at most one run (invariant I3).
//! Kind, subject and actor are frozen at first sight.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Timestamp,
    forge::{Actor, ForgeKind},
    ids::{
        InstallationId, IssueNumber, LabelName, ProjectKey, RepositoryId, RunId, StageKind, Subject,
    },
};

/// Where a trigger came from.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TriggerSource {
    /// A `labeled` event.
    Label,
    /// A review that requests changes.
    Review,
    /// A push to a watched branch.
    Push,
    /// A schedule's tick.
    Schedule,
    /// A command in a comment.
    Command,
    /// A comment in a discussion.
    Comment,
}

impl TriggerSource {
    /// Whether triggers of it carry a label, which is taken off in the end.
    pub const fn is_label(self) -> bool {
        matches!(self, Self::Label)
    }
}

/// What makes two sightings the same trigger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TriggerIdentity {
    /// The forge.
    pub forge: ForgeKind,
    /// The repository.
    pub repository: RepositoryId,
    /// The kind of fact.
    pub source: TriggerSource,
    /// The fact's immutable id at the forge (for labels the `labeled` event's numeric id).
    pub source_id: String,
}

impl TriggerIdentity {
    /// The run that this trigger names in an installation: always the same one.
    pub fn run_id(&self, installation: &InstallationId) -> RunId {
        RunId(Uuid::new_v5(
            &installation.uuid(),
            self.to_string().as_bytes(),
        ))
    }
}

impl std::str::FromStr for TriggerIdentity {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidIdentity(text.to_owned());
        let mut parts = text.splitn(4, '/');
        let mut next = || parts.next().ok_or_else(invalid);
        let (forge, repository, source, source_id) = (next()?, next()?, next()?, next()?);
        Ok(Self {
            forge: forge.parse().map_err(|_| invalid())?,
            repository: RepositoryId(repository.parse().map_err(|_| invalid())?),
            source: source.parse().map_err(|_| invalid())?,
            source_id: source_id.to_owned(),
        })
    }
}

/// A text that is no trigger's identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no trigger's identity")]
pub struct InvalidIdentity(String);

impl std::fmt::Display for TriggerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{}/{}/{}",
            self.forge, self.repository, self.source, self.source_id
        )
    }
}

/// What a trigger asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TriggerKind {
    /// The stage.
    pub stage: StageKind,
    /// Whether it continues an artefact that is already there.
    pub revise: bool,
}

impl std::fmt::Display for TriggerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.stage.as_str())?;
        if self.revise {
            f.write_str("_revise")
        } else {
            Ok(())
        }
    }
}

/// Why a trigger waits. Every one of these goes away by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[strum(serialize_all = "snake_case")]
pub enum WaitReason {
    /// Just seen; not judged yet.
    New,
    /// Our own identities are not read yet; nobody is judged before.
    IdentitiesUnknown,
    /// The actor's permission is not read yet.
    PermissionUnknown,
    /// The subject (text, labels, state) is not read, or its read is not confirmed.
    SubjectUnknown {
        /// What is missing.
        why: String,
    },
    /// Live triggers of different kinds stand on one work item.
    Conflict {
        /// The labels that contradict each other, sorted.
        labels: Vec<LabelName>,
    },
    /// A run of the same work item is still active.
    BehindRun {
        /// That run.
        run: RunId,
    },
    /// `state:blocked`, an open `need:input` or another entry rule of the stage.
    Blocked {
        /// The label that stands in the way.
        label: LabelName,
    },
    /// A stage that must come first has not succeeded on the work item.
    StageMissing {
        /// That stage.
        stage: StageKind,
    },
    /// The work of a stage that must come first has not passed its review.
    Unreviewed {
        /// That stage.
        stage: StageKind,
    },
    /// The project or platform is suspended.
    Suspended,
    /// No last good config, or it does not know stage or agent.
    Config {
        /// What is missing.
        why: String,
    },
    /// A revise trigger whose pull request is not found yet (its read is not complete).
    PullRequestUnknown,
}

/// Why a trigger was refused. Refusals are final.
#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::EnumIter, strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[strum(serialize_all = "snake_case")]
pub enum RefusalReason {
    /// The actor is no member whose role allows it, or lacks write at the forge.
    NoRights,
    /// The actor is a bot, an app, or one of our own identities.
    Bot,
    /// Title or body were changed after the trigger by someone not entitled, or unknown.
    ContentChanged,
    /// The fact is older than the repository's binding.
    Historical,
    /// A revise without a pull request of ours to revise.
    NoPullRequest,
    /// A review on a pull request that was closed or merged already.
    PullRequestClosed,
    /// A review of the work of a stage that is not revised.
    NotRevisable,
    /// People asked afterwards for a stage that takes the work on the issue back.
    Superseded,
    /// Work was asked for, which ends the discussion it is part of.
    DiscussionOver,
    /// The config that asked for it, by the clock or by pushes, no longer does.
    NotConfigured,
    /// What the config asks for on an issue whose text is not by members alone.
    ForeignText,
    /// The repository is no longer in the config.
    Unbound,
    /// It had run its course before the database was restored: we took its label off.
    Consumed,
}

/// What became of a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Disposition {
    /// It will start by itself once the reason is gone.
    Waiting(WaitReason),
    /// It has a run.
    Run {
        /// The run.
        run: RunId,
    },
    /// It asked for the same as an older trigger whose run had not launched.
    MergedInto {
        /// That run.
        run: RunId,
    },
    /// It never starts.
    Refused(RefusalReason),
    /// It was taken back before or during its run.
    Withdrawn,
}

impl Disposition {
    /// Whether it may still change.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Waiting(_))
    }
}

/// A trigger as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Its identity: the key.
    pub identity: TriggerIdentity,
    /// The project it belonged to at first sight.
    pub project: ProjectKey,
    /// The issue or pull request that carries it.
    pub number: IssueNumber,
    /// What it asks for, frozen.
    pub kind: TriggerKind,
    /// The label's name at first sight, for label triggers.
    pub label: Option<LabelName>,
    /// Who did it, frozen; `None` where the account is gone.
    pub actor: Option<Actor>,
    /// The app it was done through.
    pub via_app: Option<String>,
    /// When, by the forge's clock.
    pub occurred_at: Timestamp,
    /// Hash of title and body at first sight: the fallback where no edit history can be read.
    pub content_hash: Option<String>,
    /// When first seen, by the database's clock.
    pub first_seen_at: Timestamp,
    /// What became of it.
    pub disposition: Disposition,
    /// The event that took it back, if any.
    pub withdrawn_by: Option<WithdrawnBy>,
    /// Whether its label was dealt with at the forge (removed by us or by people), so that
    /// nothing is left to do for it.
    pub settled: bool,
}

impl Trigger {
    /// The issue or pull request that carries it.
    pub fn subject(&self) -> Subject {
        Subject {
            repository: self.identity.repository,
            number: self.number,
        }
    }

    /// Its place among others, the oldest first: by the forge's clock, then by the forge's ids,
    /// which grow. Neither when it was read nor when its row was written counts.
    pub fn place(&self) -> (Timestamp, TriggerSource, usize, &str) {
        let source_id = &self.identity.source_id;
        (
            self.occurred_at,
            self.identity.source,
            source_id.len(),
            source_id,
        )
    }
}

/// What took a trigger back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum WithdrawnBy {
    /// The label was taken off.
    Unlabeled {
        /// The event.
        event: super::ids::EventId,
        /// By whom.
        actor: Option<Actor>,
    },
    /// The subject was closed.
    Closed {
        /// The event.
        event: super::ids::EventId,
        /// By whom.
        actor: Option<Actor>,
    },
    /// The review was dismissed.
    Dismissed,
    /// The subject left for another repository, or was deleted.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(source_id: &str) -> TriggerIdentity {
        TriggerIdentity {
            forge: ForgeKind::Github,
            repository: RepositoryId(7),
            source: TriggerSource::Label,
            source_id: source_id.to_owned(),
        }
    }

    #[test]
    fn a_trigger_always_names_the_same_run_of_one_installation() {
        let here: InstallationId = "here".parse().unwrap();
        let there: InstallationId = "there".parse().unwrap();
        assert_eq!(identity("1").run_id(&here), identity("1").run_id(&here));
        assert_ne!(identity("1").run_id(&here), identity("2").run_id(&here));
        assert_ne!(identity("1").run_id(&here), identity("1").run_id(&there));
    }
}
