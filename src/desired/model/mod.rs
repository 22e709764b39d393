//! The kinds of the config repo as pure types, and [`Desired`]: all of one
//! commit, validated and with every reference resolved.
//!
//! These types say what may be written and what a plan may read. They read no
//! files and check nothing beyond their own shape; references, limits and
//! label sets are checked in `desired/load`. Everything here is ordered
//! (`BTreeMap`), so the same commit always serialises to the same bytes.

pub mod agent;
pub mod approval;
pub mod desired;
pub mod duration;
pub mod guardrails;
pub mod kind;
pub mod labels;
pub mod platform;
pub mod policy;
pub mod project;
pub mod reference;
pub mod repository;
pub mod schedule;
pub mod schema;
pub mod stage;
pub mod template;

pub use agent::{AgentSpec, CommitAuthor, RbacProfile, Resources};
pub use approval::{ApprovalPolicySpec, ApprovalRule, Asked};
pub use desired::{AgentView, Desired, DesiredProject, DesiredRepository};
pub use duration::DurationText;
pub use guardrails::{Commands, Egress, Guardrails, Images, Narrowing, PodSecurity};
pub use kind::{API_VERSION, Kind, LATER_KINDS, Metadata, ObjectName};
pub use labels::{LabelCatalogSpec, LabelMeaning, LabelSpec, StateKind, StateLabels, TriggerLabel};
pub use platform::{ModelSpec, Models, PlatformSpec, ReasoningEffort, Retention, Suspend};
pub use policy::AgentPolicySpec;
pub use project::{Budgets, Member, MemberRole, ProjectLimits, ProjectSpec};
pub use repository::RepositorySpec;
pub use schedule::{PushTrigger, ScheduleSpec};
pub use stage::{
    AnswerPartSpec, ClosesIssue, EntryGuard, LabelsAfter, RuntimeMode, StageModelSpec, StageSpec,
};
pub use template::{PromptTemplateSpec, Template, TemplateKey, TemplateKind, TemplateScope};
