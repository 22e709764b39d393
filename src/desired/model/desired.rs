//! [`Desired`]: what one commit of the config repo says, whole and validated.
//!
//! Every name in it resolves: the loader builds it only from a commit without
//! errors. Project scope is kept apart and wins in the lookups. It serialises
//! to the same bytes for the same commit and is part of a saved plan input.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::{
    agent::AgentSpec,
    approval::{ApprovalPolicySpec, Asked, Terms},
    guardrails::Guardrails,
    kind::ObjectName,
    labels::{LabelCatalogSpec, LabelMeaning, LabelSpec},
    platform::{PlatformSpec, ReasoningEffort, Suspend},
    policy::AgentPolicySpec,
    project::{Member, ProjectSpec},
    schedule::{PushTrigger, ScheduleSpec},
    stage::{StageModelSpec, StageSpec},
    template::{Template, TemplateKey, TemplateKind, TemplateScope},
};
use crate::domain::{
    agent_cli::AgentCli,
    forge::ForgeKind,
    ids::{
        AgentKey, BranchName, CommitSha, LabelName, Locale, ProjectKey, RepositoryName, Revision,
        StageKind, UserId,
    },
    trigger::TriggerKind,
};

/// The language every template has in the end.
const LAST_LOCALE: &str = "en";

/// What one commit of the config repo says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// The commit.
    pub sha: CommitSha,
    /// Its number, once accepted.
    pub revision: Option<Revision>,
    /// Rules and ceilings of the installation.
    pub platform: PlatformSpec,
    /// The labels read and written.
    pub labels: LabelCatalogSpec,
    /// The stages.
    pub stages: StageModelSpec,
    /// Agents for all projects.
    pub agents: BTreeMap<AgentKey, AgentSpec>,
    /// Agent programs.
    #[serde(default)]
    pub clis: BTreeMap<ObjectName, AgentCli>,
    /// Policies for all projects.
    pub policies: BTreeMap<ObjectName, AgentPolicySpec>,
    /// Approval policies for all projects.
    #[serde(default)]
    pub approvals: BTreeMap<ObjectName, ApprovalPolicySpec>,
    /// Prompt templates for all projects.
    pub templates: BTreeMap<TemplateKey, Template>,
    /// The projects.
    pub projects: BTreeMap<ProjectKey, DesiredProject>,
}

/// A project with all that stands in its own folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredProject {
    /// The project itself.
    pub spec: ProjectSpec,
    /// Its repositories, by document name.
    pub repositories: BTreeMap<ObjectName, DesiredRepository>,
    /// Agents of its own; one with a key of the platform's replaces that one.
    pub agents: BTreeMap<AgentKey, AgentSpec>,
    /// Policies of its own.
    pub policies: BTreeMap<ObjectName, AgentPolicySpec>,
    /// Approval policies of its own; they only narrow.
    #[serde(default)]
    pub approvals: BTreeMap<ObjectName, ApprovalPolicySpec>,
    /// Its schedules.
    #[serde(default)]
    pub schedules: BTreeMap<ObjectName, ScheduleSpec>,
    /// Prompt templates of its own.
    pub templates: BTreeMap<TemplateKey, Template>,
}

/// A repository of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredRepository {
    /// Its name at the forge; an attribute, the id is the forge's.
    pub name: RepositoryName,
    /// The forge that has it.
    pub forge: ForgeKind,
    /// The branch that work starts from; the forge's default branch when absent.
    pub base_branch: Option<BranchName>,
    /// Stages asked for by every push to the default branch.
    #[serde(default)]
    pub on_push: Vec<PushTrigger>,
    /// The name of its credential in the process settings.
    pub credential: Option<ObjectName>,
}

/// An agent as a project sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentView<'a> {
    /// Its key.
    pub key: &'a AgentKey,
    /// The agent.
    pub spec: &'a AgentSpec,
}

impl Desired {
    /// The stage that discusses, where there is one and a label for it.
    pub fn discussion(&self) -> Option<(&StageSpec, &LabelSpec)> {
        let stage = self.stages.stages.iter().find(|stage| stage.discussion);
        stage.zip(self.labels.discussion.as_ref())
    }

    /// What the label for discussions asks for.
    pub fn discussion_kind(&self) -> Option<TriggerKind> {
        let (stage, _) = self.discussion()?;
        Some(TriggerKind {
            stage: stage.kind.clone(),
            revise: false,
        })
    }

    /// What a label means, whatever its case and surrounding blanks.
    ///
    /// Brackets around a name are ignored for labels that choose a model or a
    /// reasoning effort, and only there.
    pub fn label(&self, name: &str) -> Option<LabelMeaning> {
        let folded = name.trim().to_lowercase();
        let bare = without_brackets(&folded);
        let mut entries = self.labels.entries();
        let found = entries.find(|(label, meaning, _)| {
            let label = label.folded();
            label == folded || (meaning.is_choice() && without_brackets(&label) == bare)
        });
        found.map(|(_, meaning, _)| meaning)
    }

    /// Every label that means something in a project, with its meaning.
    pub fn labels_in(&self, project: &ProjectKey) -> Vec<(LabelName, LabelMeaning)> {
        let entries = self.labels.entries();
        let entries = entries.map(|(label, meaning, _)| (label.clone(), meaning));
        let own = self
            .project(project)
            .and_then(|project| project.spec.priority_label.clone());
        let own = own.map(|label| (label, LabelMeaning::Priority));
        entries.chain(own).collect()
    }

    /// What a label means in a project: as [`Self::label`], and its own priority label.
    pub fn label_in(&self, project: &ProjectKey, name: &str) -> Option<LabelMeaning> {
        self.label(name).or_else(|| {
            let own = self.project(project)?.spec.priority_label.as_ref()?;
            (own.folded() == name.trim().to_lowercase()).then_some(LabelMeaning::Priority)
        })
    }

    /// A stage.
    pub fn stage(&self, kind: &StageKind) -> Option<&StageSpec> {
        self.stages.stages.iter().find(|stage| stage.kind == *kind)
    }

    /// A project.
    pub fn project(&self, key: &ProjectKey) -> Option<&DesiredProject> {
        self.projects.get(key)
    }

    /// The project a repository belongs to, and the repository.
    pub fn repository(&self, name: &RepositoryName) -> Option<(&ProjectKey, &DesiredRepository)> {
        self.repositories()
            .find(|(_, repository)| repository.name == *name)
    }

    /// All repositories with their project.
    pub fn repositories(&self) -> impl Iterator<Item = (&ProjectKey, &DesiredRepository)> {
        self.projects.iter().flat_map(|(key, project)| {
            project
                .repositories
                .values()
                .map(move |repository| (key, repository))
        })
    }

    /// An agent by its key: the project's own, else the platform's.
    pub fn agent<'a>(&'a self, project: &ProjectKey, key: &AgentKey) -> Option<AgentView<'a>> {
        let own = self
            .project(project)
            .and_then(|project| project.agents.get_key_value(key));
        let (key, spec) = own.or_else(|| self.agents.get_key_value(key))?;
        Some(AgentView { key, spec })
    }

    /// The agent that does a stage in a project: the one that the project names, else the stage
    /// model's.
    pub fn agent_for(&self, project: &ProjectKey, stage: &StageKind) -> Option<AgentView<'_>> {
        let usual = &self.stage(stage)?.agent;
        let own = self.project(project);
        let own = own.and_then(|project| project.spec.agents.get(stage));
        self.agent(project, own.unwrap_or(usual))
    }

    /// The program that an agent is; `None` only where the config was never checked.
    pub fn cli(&self, agent: &AgentSpec) -> Option<Cow<'_, AgentCli>> {
        match &agent.cli {
            Some(name) => self.clis.get(name).map(Cow::Borrowed),
            None => Some(Cow::Owned(AgentCli::plain(agent.command.clone()))),
        }
    }

    /// The policy of an agent in a project: the project's own of that name, else the platform's.
    pub fn policy_for(&self, project: &ProjectKey, agent: &AgentKey) -> Option<&AgentPolicySpec> {
        let name = &self.agent(project, agent)?.spec.policy;
        let own = self
            .project(project)
            .and_then(|project| project.policies.get(name));
        own.or_else(|| self.policies.get(name))
    }

    /// Who decides on a request of a project's agent, and until when.
    ///
    /// The platform's default policy and the one that the project names both
    /// hold, the stricter word of each. A policy from the project's own folder
    /// alone can only narrow what holds where there is none: the owner decides. Where the
    /// project named another agent for the stage, what is said of the usual one holds too.
    pub fn approval_terms(&self, project: &ProjectKey, asked: &Asked<'_>) -> Terms {
        let default = self.platform.approval_policy.as_ref();
        let default = default.and_then(|name| self.approvals.get(name));
        let named = self.project(project).and_then(|project| {
            let name = project.spec.approval_policy.as_ref()?;
            let own = project.approvals.get(name).map(|policy| (policy, true));
            own.or_else(|| self.approvals.get(name).map(|policy| (policy, false)))
        });
        let usual = self.stage(asked.stage).map(|stage| &stage.agent);
        let terms = |policy: &ApprovalPolicySpec| {
            let agent = usual.unwrap_or(asked.agent);
            let of_usual = policy.terms(&Asked { agent, ..*asked });
            policy.terms(asked).narrowed(of_usual)
        };
        match (default, named) {
            (Some(default), Some((named, _))) => terms(default).narrowed(terms(named)),
            (Some(default), None) => terms(default),
            (None, Some((named, false))) => terms(named),
            (None, Some((named, true))) => Terms::default().narrowed(terms(named)),
            (None, None) => Terms::default(),
        }
    }

    /// How many runs of an agent may be active in a project at once.
    pub fn agent_limit(&self, project: &ProjectKey, agent: &AgentKey) -> Option<u32> {
        let policy = self.policy_for(project, agent)?.max_parallel_runs;
        let own = self
            .project(project)?
            .spec
            .limits
            .per_agent
            .get(agent)
            .copied();
        Some(own.map_or(policy, |own| own.min(policy)))
    }

    /// The language of a project's prompts and comments.
    pub fn locale(&self, project: &ProjectKey) -> &Locale {
        self.project(project)
            .and_then(|project| project.spec.locale.as_ref())
            .unwrap_or(&self.platform.default_locale)
    }

    /// The template of a prompt.
    ///
    /// Tried in this order: the locale asked for, the project's, the
    /// platform's, `en`; and in each the project's own template before the
    /// platform's. Where the platform has none, those that are part of the
    /// program were put in its place when the config was loaded.
    pub fn template_for(
        &self,
        project: &ProjectKey,
        agent: &AgentKey,
        stage: &StageKind,
        kind: TemplateKind,
        locale: &Locale,
    ) -> Option<&Template> {
        let last = Locale::from(LAST_LOCALE);
        let locales = [
            locale,
            self.locale(project),
            &self.platform.default_locale,
            &last,
        ];
        let own = self.project(project).map(|project| &project.templates);
        locales.into_iter().find_map(|locale| {
            let key = TemplateKey::new(agent, stage, kind, locale);
            own.and_then(|own| own.get(&key))
                .or_else(|| self.templates.get(&key))
        })
    }

    /// Whether agents explain what they do for an account: its own word, else the project's,
    /// else the platform's.
    pub fn learning_mode(&self, project: &ProjectKey, user: Option<UserId>) -> bool {
        let spec = self.project(project).map(|project| &project.spec);
        let members = spec.map_or(&[][..], |spec| &spec.members);
        let own = members.iter().find_map(|member| match member {
            Member::User {
                id, learning_mode, ..
            } if Some(*id) == user => *learning_mode,
            _ => None,
        });
        own.or_else(|| spec?.learning_mode)
            .unwrap_or(self.platform.learning_mode)
    }

    /// What agents may use at most in a project.
    pub fn guardrails(&self, project: &ProjectKey) -> Cow<'_, Guardrails> {
        match self.project(project) {
            Some(project) => Cow::Owned(self.platform.guardrails.narrowed(&project.spec.narrow)),
            None => Cow::Borrowed(&self.platform.guardrails),
        }
    }

    /// Whether a project's work is suspended: the stricter of the platform's word and its own.
    pub fn suspend(&self, project: &ProjectKey) -> Suspend {
        let own = self
            .project(project)
            .map_or(Suspend::None, |project| project.spec.suspend);
        own.max(self.platform.suspend)
    }

    /// The model of an agent where no label chooses one.
    pub fn default_model<'a>(&'a self, agent: &'a AgentSpec) -> &'a str {
        agent
            .model
            .as_deref()
            .unwrap_or(&self.platform.models.default)
    }

    /// The reasoning effort of an agent where no label chooses one.
    pub fn default_reasoning(&self, agent: &AgentSpec) -> ReasoningEffort {
        agent
            .reasoning
            .unwrap_or(self.platform.models.default_reasoning)
    }

    /// How many documents it has, for the prune rule.
    pub fn objects(&self) -> usize {
        let count = |project: &DesiredProject| {
            1 + project.repositories.len()
                + project.agents.len()
                + project.policies.len()
                + project.approvals.len()
                + project.templates.len()
        };
        let written = |template: &&Template| template.scope != TemplateScope::BuiltIn;
        3 + self.agents.len()
            + self.policies.len()
            + self.approvals.len()
            + self.templates.values().filter(written).count()
            + self.projects.values().map(count).sum::<usize>()
    }
}

/// A folded label name without surrounding brackets.
pub(crate) fn without_brackets(folded: &str) -> &str {
    folded
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .map_or(folded, str::trim)
}
