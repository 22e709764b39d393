//! Postgres enums as Rust types, so that the domain stays free of the driver.
//! Both directions are exhaustive: a new variant does not compile until it has
//! its place here and a migration.

use crate::domain::{
    approval::ApprovalState,
    fact::Fact,
    forge::{ForgeKind, Permission, SubjectState},
    report::ReportState,
    run::{AttemptState, EnvironmentState, Outcome, RunState},
    trigger::{Disposition, TriggerSource},
};

macro_rules! pg_enum {
    ($(#[$doc:meta])* $name:ident = $domain:ty, $pg:literal, [$($variant:ident),+ $(,)?]) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
        #[sqlx(type_name = $pg, rename_all = "snake_case")]
        pub(super) enum $name { $($variant),+ }

        impl From<$domain> for $name {
            fn from(value: $domain) -> Self {
                match value { $(<$domain>::$variant => Self::$variant),+ }
            }
        }

        impl From<$name> for $domain {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => Self::$variant),+ }
            }
        }
    };
}

pg_enum!(PgForge = ForgeKind, "forge_kind", [Github]);
pg_enum!(
    PgSubjectState = SubjectState,
    "subject_state",
    [Open, Closed, Gone]
);
pg_enum!(
    PgPermission = Permission,
    "permission",
    [None, Read, Triage, Write, Maintain, Admin]
);
pg_enum!(
    PgTriggerSource = TriggerSource,
    "trigger_source",
    [Label, Review, Push, Schedule, Command, Comment]
);
pg_enum!(
    PgRunState = RunState,
    "run_state",
    [
        Pending,
        Preparing,
        Running,
        WaitingMcp,
        WaitingOwnerReview,
        Stopping,
        Succeeded,
        Failed,
        TimedOut,
        Cancelled,
        Rejected,
    ]
);
pg_enum!(
    PgOutcome = Outcome,
    "run_outcome",
    [Succeeded, Failed, TimedOut, Cancelled]
);
pg_enum!(
    PgAttemptState = AttemptState,
    "attempt_state",
    [Starting, Running, Reported, Lost, Parked]
);
pg_enum!(
    PgEnvironmentState = EnvironmentState,
    "environment_state",
    [Active, Retained, Deleting, Gone]
);
pg_enum!(
    PgApprovalState = ApprovalState,
    "approval_state",
    [
        Requested, Approved, Applied, Failed, Denied, Expired, Withdrawn, Refused,
    ]
);
pg_enum!(
    PgReportState = ReportState,
    "report_state",
    [
        Acting, Running, Queued, Waiting, Retrying, Refused, Withdrawn, Done, Unknown, Stalled,
    ]
);

/// The state of a disposition; its detail is stored beside it as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "disposition_state", rename_all = "snake_case")]
pub(super) enum PgDispositionState {
    Waiting,
    Run,
    MergedInto,
    Refused,
    Withdrawn,
}

impl From<&Disposition> for PgDispositionState {
    fn from(value: &Disposition) -> Self {
        match value {
            Disposition::Waiting(_) => Self::Waiting,
            Disposition::Run { .. } => Self::Run,
            Disposition::MergedInto { .. } => Self::MergedInto,
            Disposition::Refused(_) => Self::Refused,
            Disposition::Withdrawn => Self::Withdrawn,
        }
    }
}

/// The kind of a fact; its content is stored beside it as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "fact_kind", rename_all = "snake_case")]
pub(super) enum PgFactKind {
    Heartbeat,
    Push,
    Result,
    Ended,
    Labels,
    Wait,
}

impl From<&Fact> for PgFactKind {
    fn from(value: &Fact) -> Self {
        match value {
            Fact::Heartbeat => Self::Heartbeat,
            Fact::Push(_) => Self::Push,
            Fact::Result(_) => Self::Result,
            Fact::Ended { .. } => Self::Ended,
            Fact::Labels(_) => Self::Labels,
            Fact::Wait(_) => Self::Wait,
        }
    }
}
