//! Approvals: what agents ask for and people decide, without anything reaching
//! us from outside.
//!
//! ```text
//! requested ─┬─► approved ─┬─► applied
//!            │             └─► failed
//!            ├─► denied
//!            ├─► expired
//!            └─► withdrawn                    refused: never asked anybody
//! ```
//!
//! An approval's id follows from the run, the action and what it is about, so a
//! request is one however often it is read. It is decided once; a decision that
//! comes later changes nothing. The policy is frozen in the row.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Timestamp,
    forge::{Actor, ForgeKind},
    ids::{
        AgentKey, CommentId, EventId, IssueNumber, LabelName, Locale, ProjectKey, RepositoryId,
        RunId, Subject,
    },
    trigger::{TriggerIdentity, TriggerKind, TriggerSource},
};

/// Letters and digits of a code: none that is taken for another.
const CODE_ALPHABET: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How long a code is: short enough to type, and one of seven hundred millions.
const CODE_LENGTH: usize = 6;

/// An approval's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApprovalId(pub Uuid);

impl ApprovalId {
    /// The id of what a run asks for: always the same one.
    pub fn of(run: &RunId, action: ApprovalAction, target: &LabelName) -> Self {
        let name = format!("{action}/{}", target.folded());
        Self(Uuid::new_v5(&run.0, name.as_bytes()))
    }
}

impl std::fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for ApprovalId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// What is asked for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum ApprovalAction {
    /// Start a stage on the issue.
    StartStage,
}

/// Who decides, laxest first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum ApprovalMode {
    /// Nobody: it is granted at once, in the name of whoever started the run that asks.
    None,
    /// Any member whose role may ask for work.
    Delegated,
    /// The members with the project's highest role.
    Owner,
}

/// Where an approval stands.
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
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ApprovalState {
    /// Waits for people.
    Requested,
    /// Granted; what was asked for is not begun yet.
    Approved,
    /// What was asked for is begun.
    Applied,
    /// Granted, and then it could not be begun.
    Failed,
    /// Somebody said no.
    Denied,
    /// Nobody decided in time.
    Expired,
    /// The issue was closed before anybody decided.
    Withdrawn,
    /// It was never put to anybody: there is no such thing, or the agent may not ask for it.
    Refused,
}

impl ApprovalState {
    /// The transition table.
    pub fn may_become(self, to: Self) -> bool {
        match self {
            Self::Requested => matches!(
                to,
                Self::Approved | Self::Denied | Self::Expired | Self::Withdrawn
            ),
            Self::Approved => matches!(to, Self::Applied | Self::Failed),
            Self::Applied
            | Self::Failed
            | Self::Denied
            | Self::Expired
            | Self::Withdrawn
            | Self::Refused => false,
        }
    }

    /// Whether it never changes again.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Requested | Self::Approved)
    }

    /// Whether a new row may stand there.
    pub fn is_beginning(self) -> bool {
        matches!(self, Self::Requested | Self::Approved | Self::Refused)
    }
}

/// An approval as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The run that asks.
    pub run: RunId,
    /// Its project.
    pub project: ProjectKey,
    /// The forge.
    pub forge: ForgeKind,
    /// The repository.
    pub repository: RepositoryId,
    /// The issue it is about: the run's work item.
    pub number: IssueNumber,
    /// What is asked for.
    pub action: ApprovalAction,
    /// The label that the agent asked to have put on.
    pub target: LabelName,
    /// What that label asked for when it was read; `None` where it asks for nothing.
    pub kind: Option<TriggerKind>,
    /// The agent that asks.
    pub agent: AgentKey,
    /// Who decides, by the policy at the time.
    pub mode: ApprovalMode,
    /// The language of its comment.
    pub locale: Locale,
    /// Where it stands.
    pub state: ApprovalState,
    /// What people name it by; drawn when it is stored. `None` where nobody is asked.
    pub code: Option<String>,
    /// Counts its request comments: a new one has a new code, and the old code is dead.
    pub posting: i32,
    /// The newest event of the repository when it was asked: a close after it withdraws.
    pub after_event: EventId,
    /// When it was stored (database clock).
    pub requested_at: Timestamp,
    /// When it ends undecided (database clock).
    pub expires_at: Timestamp,
    /// How it was decided.
    pub decision: Option<Decision>,
    /// Why it was refused, failed or withdrawn, for people.
    pub reason: Option<String>,
    /// Whether nothing is left to do for it at the forge.
    pub settled: bool,
}

impl Approval {
    /// The issue it is about.
    pub fn subject(&self) -> Subject {
        Subject {
            repository: self.repository,
            number: self.number,
        }
    }

    /// The trigger that it becomes once it is granted: it names one run, as any trigger does.
    pub fn trigger(&self) -> TriggerIdentity {
        TriggerIdentity {
            forge: self.forge,
            repository: self.repository,
            source: TriggerSource::Command,
            source_id: self.id.to_string(),
        }
    }
}

/// What was decided.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

impl Verdict {
    /// The state it leads to.
    pub fn state(self) -> ApprovalState {
        match self {
            Self::Approve => ApprovalState::Approved,
            Self::Deny => ApprovalState::Denied,
        }
    }
}

/// How an approval was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What.
    pub verdict: Verdict,
    /// By whom; `None` where the account of whoever started the run is gone.
    pub actor: Option<Actor>,
    /// Where it was said.
    pub via: DecidedVia,
    /// Why, in their words.
    pub reason: Option<String>,
    /// From when on a change of the issue's text counts as later, by the forge's clock.
    pub as_of: Timestamp,
}

/// Where a decision was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "via")]
pub enum DecidedVia {
    /// By the policy, which asks nobody.
    Policy,
    /// In a comment on the issue.
    Comment {
        /// The comment.
        comment: CommentId,
    },
    /// On the command line or by the staff API.
    Staff {
        /// The fact.
        fact: i64,
    },
    /// It is known from what stands in the world since before the database was restored.
    Recovered,
}

/// A decision that came in by command line or staff API: a fact, which the lease holder judges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionFact {
    /// Grows with insertion.
    pub id: i64,
    /// The approval.
    pub approval: ApprovalId,
    /// The code that was given.
    pub code: String,
    /// What was decided.
    pub verdict: Verdict,
    /// The member in whose name.
    pub login: String,
    /// Why.
    pub reason: Option<String>,
}

/// A command in a comment: one line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What was decided.
    pub verdict: Verdict,
    /// The code, as [`folded_code`] writes it.
    pub code: String,
    /// The rest of the line.
    pub reason: Option<String>,
}

/// The commands in a comment's text, in their order. Lines in fenced code are only shown.
pub fn commands_in(text: &str) -> Vec<Command> {
    let mut fenced = false;
    let mut commands = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") || line.starts_with("~~~") {
            fenced = !fenced;
        } else if !fenced {
            commands.extend(command(line));
        }
    }
    commands
}

fn command(line: &str) -> Option<Command> {
    let (word, rest) = line.split_once(char::is_whitespace)?;
    let verdict = match word.to_ascii_lowercase().as_str() {
        "/approve" => Verdict::Approve,
        "/deny" => Verdict::Deny,
        _ => return None,
    };
    let (code, reason) = match rest.trim().split_once(char::is_whitespace) {
        Some((code, reason)) => (code, Some(reason.trim().to_owned())),
        None => (rest.trim(), None),
    };
    let code = folded_code(code);
    (!code.is_empty()).then_some(Command {
        verdict,
        code,
        reason: reason.filter(|reason| !reason.is_empty()),
    })
}

/// A code as it is stored and compared: people may copy it with the backquotes around it.
pub fn folded_code(code: &str) -> String {
    code.trim_matches(|c: char| c.is_whitespace() || c == '`')
        .to_ascii_uppercase()
}

/// A code from random bytes.
pub fn code_from(random: [u8; 16]) -> String {
    let mut left = u128::from_le_bytes(random);
    let base = CODE_ALPHABET.len() as u128;
    let letters = (0..CODE_LENGTH).map(|_| {
        let at = usize::try_from(left % base).unwrap_or_default();
        left /= base;
        char::from(CODE_ALPHABET[at])
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn what_is_decided_stays_decided() {
        use ApprovalState::{Applied, Approved, Denied, Requested};

        for from in ApprovalState::iter().filter(|state| state.is_terminal()) {
            assert!(
                !ApprovalState::iter().any(|to| from.may_become(to)),
                "{from}"
            );
        }
        assert!(Requested.may_become(Approved) && Requested.may_become(Denied));
        assert!(!Requested.may_become(Applied) && Approved.may_become(Applied));
    }

    #[test]
    fn what_a_run_asks_twice_is_one_request() {
        let of = |run: u128, label: &str| {
            let run = RunId(Uuid::from_u128(run));
            ApprovalId::of(&run, ApprovalAction::StartStage, &label.into())
        };
        assert_eq!(of(1, "run:vision"), of(1, " Run:Vision"));
        assert_ne!(of(1, "run:vision"), of(2, "run:vision"));
        assert_ne!(of(1, "run:vision"), of(1, "run:prd"));
    }

    #[test]
    fn commands_stand_on_lines_of_their_own_whatever_their_case() {
        let text = "I read it.\n  /Approve abc234 \n> /deny QUOTED\n```\n/deny SHOWN1 no\n```\n\
            please /approve INLINE\n/deny `XYZ789` not  yet\n/approve\n/approved ABC234";
        let found = commands_in(text);
        let command = |verdict, code: &str, reason: Option<&str>| Command {
            verdict,
            code: code.to_owned(),
            reason: reason.map(str::to_owned),
        };
        let wanted = [
            command(Verdict::Approve, "ABC234", None),
            command(Verdict::Deny, "XYZ789", Some("not  yet")),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_code_has_no_letter_that_is_taken_for_another() {
        for random in [[0; 16], [255; 16], [7; 16]] {
            let code = code_from(random);
            assert_eq!(code.len(), CODE_LENGTH);
            assert!(!code.contains(['0', '1', 'I', 'L', 'O', 'U']), "{code}");
            assert_eq!(folded_code(&format!(" `{}`", code.to_lowercase())), code);
        }
    }
}
