//! All documents of a commit by kind, and what is declared by name.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    document::{Document, Parsed, Raw, Scope},
    error::{Code, ConfigError},
};
use crate::{
    desired::model::{
        AgentPolicySpec, AgentSpec, ApprovalPolicySpec, Kind, LabelCatalogSpec, ObjectName,
        PlatformSpec, ProjectSpec, PromptTemplateSpec, RepositorySpec, ScheduleSpec,
        StageModelSpec,
    },
    domain::{agent_cli::AgentCli, ids::ProjectKey},
};

/// All documents of a commit by kind, in the order of their files.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    /// Documents of kind `Platform`; exactly one in a good commit.
    pub(crate) platforms: Vec<Document<PlatformSpec>>,
    /// Documents of kind `LabelCatalog`; exactly one in a good commit.
    pub(crate) catalogues: Vec<Document<LabelCatalogSpec>>,
    /// Documents of kind `StageModel`; exactly one in a good commit.
    pub(crate) stage_models: Vec<Document<StageModelSpec>>,
    /// Agents.
    pub(crate) agents: Vec<Document<AgentSpec>>,
    /// Agent programs.
    pub(crate) clis: Vec<Document<AgentCli>>,
    /// Policies.
    pub(crate) policies: Vec<Document<AgentPolicySpec>>,
    /// Approval policies.
    pub(crate) approvals: Vec<Document<ApprovalPolicySpec>>,
    /// Projects.
    pub(crate) projects: Vec<Document<ProjectSpec>>,
    /// Repositories.
    pub(crate) repositories: Vec<Document<RepositorySpec>>,
    /// Schedules.
    pub(crate) schedules: Vec<Document<ScheduleSpec>>,
    /// Prompt templates.
    pub(crate) templates: Vec<Document<PromptTemplateSpec>>,
    /// Everything that is declared, also by documents with errors.
    declared: BTreeMap<Kind, BTreeSet<(Scope, String)>>,
}

impl Objects {
    /// Sorts parsed documents by kind; errors of their types and names are added to `errors`.
    pub(crate) fn from_parsed(parsed: Vec<Parsed>, errors: &mut Vec<ConfigError>) -> Self {
        let mut objects = Self::default();
        let mut taken: BTreeMap<(Kind, Scope, ObjectName), String> = BTreeMap::new();
        for file in parsed {
            errors.extend(file.errors);
            for (scope, name) in file.obscure {
                for kind in Kind::ALL {
                    objects.declare(*kind, scope.clone(), &ObjectName::new(name.as_str()));
                }
            }
            for (kind, scope, name) in file.broken {
                objects.declare(kind, scope, &name);
            }
            for raw in file.good {
                objects.declare(raw.kind, raw.scope.clone(), &raw.name);
                if let Some(error) = name_taken(&raw, &mut taken) {
                    errors.push(error);
                } else if let Err(error) = objects.add(&raw) {
                    errors.push(error);
                }
            }
        }
        objects
    }

    fn declare(&mut self, kind: Kind, scope: Scope, name: &ObjectName) {
        // A project is one wherever it is written.
        let scope = if kind == Kind::Project {
            Scope::Platform
        } else {
            scope
        };
        self.declared
            .entry(kind)
            .or_default()
            .insert((scope, name.as_str().to_owned()));
    }

    fn add(&mut self, raw: &Raw) -> Result<(), ConfigError> {
        match raw.kind {
            Kind::Platform => self.platforms.push(raw.typed()?),
            Kind::LabelCatalog => self.catalogues.push(raw.typed()?),
            Kind::StageModel => self.stage_models.push(raw.typed()?),
            Kind::Agent => self.agents.push(raw.typed()?),
            Kind::AgentCli => self.clis.push(raw.typed()?),
            Kind::AgentPolicy => self.policies.push(raw.typed()?),
            Kind::ApprovalPolicy => self.approvals.push(raw.typed()?),
            Kind::Project => self.projects.push(raw.typed()?),
            Kind::Repository => self.repositories.push(raw.typed()?),
            Kind::Schedule => self.schedules.push(raw.typed()?),
            Kind::PromptTemplate => {
                let mut template: Document<PromptTemplateSpec> = raw.typed()?;
                match (&template.spec.body, &raw.body) {
                    (None, Some((body, _))) => template.spec.body = Some(body.clone()),
                    (Some(_), None) => {}
                    (Some(_), Some(_)) => {
                        let message =
                            "the text stands after the front matter; `body` is not given as well";
                        return Err(raw.error("/spec/body", Code::InvalidTemplate, message));
                    }
                    (None, None) => {
                        return Err(raw.error("/spec", Code::MissingField, "missing field `body`"));
                    }
                }
                self.templates.push(template);
            }
        }
        Ok(())
    }

    /// Whether a name is declared for a scope: in it, or for the whole platform.
    pub(crate) fn is_declared(&self, kind: Kind, scope: &Scope, name: &str) -> bool {
        self.visible(kind, scope).any(|known| known == name)
    }

    /// Names of a kind that a scope sees.
    pub(crate) fn visible<'a>(
        &'a self,
        kind: Kind,
        scope: &'a Scope,
    ) -> impl Iterator<Item = &'a str> {
        self.declared
            .get(&kind)
            .into_iter()
            .flatten()
            .filter(move |(at, _)| *at == Scope::Platform || at == scope)
            .map(|(_, name)| name.as_str())
    }

    /// Names of a kind that all scopes see together.
    pub(crate) fn anywhere(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.declared
            .get(&kind)
            .into_iter()
            .flatten()
            .map(|(_, name)| name.as_str())
    }

    /// The command of an agent, its own or its program's; `None` where that is missing or broken.
    pub(crate) fn command<'a>(&'a self, agent: &'a AgentSpec) -> Option<&'a [String]> {
        match &agent.cli {
            None => Some(&agent.command),
            Some(name) => {
                let cli = self.clis.iter().find(|cli| cli.name == *name)?;
                Some(&cli.spec.command)
            }
        }
    }

    /// Whether any document of a kind exists, with or without errors.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.declared.contains_key(&kind)
    }

    /// The project a repository belongs to, as far as it says.
    pub(crate) fn project_of(repository: &Document<RepositorySpec>) -> Option<ProjectKey> {
        match &repository.scope {
            Scope::Project(key) => Some(key.clone()),
            Scope::Platform => repository.spec.project.clone(),
        }
    }
}

fn name_taken(
    raw: &Raw,
    taken: &mut BTreeMap<(Kind, Scope, ObjectName), String>,
) -> Option<ConfigError> {
    // Of a single kind any second document is too much, whatever its name.
    let name = if raw.kind.is_single() {
        ObjectName::new("")
    } else {
        raw.name.clone()
    };
    let scope = if raw.kind == Kind::Project {
        Scope::Platform
    } else {
        raw.scope.clone()
    };
    let place = format!("{}:{}", raw.file, raw.places.value("").line);
    match taken.entry((raw.kind, scope, name)) {
        std::collections::btree_map::Entry::Vacant(free) => {
            free.insert(place);
            None
        }
        std::collections::btree_map::Entry::Occupied(first) => {
            let message = if raw.kind.is_single() {
                format!(
                    "there is one {} in a config repo; the first is at {}",
                    raw.kind,
                    first.get()
                )
            } else {
                format!(
                    "duplicate {} `{}`; the first is at {}",
                    raw.kind,
                    raw.name,
                    first.get()
                )
            };
            Some(raw.error("/metadata/name", Code::DuplicateName, message))
        }
    }
}
