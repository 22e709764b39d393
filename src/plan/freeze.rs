//! Freezing: everything that a run carries from its launch to its end.
//!
//! The prompt takes title, body and labels as they are read now; comments only
//! when they stood unedited before the trigger, or come from entitled people.

use std::collections::BTreeMap;

use serde_json::json;

use super::{context::context, index::Index, reopen, revise::revised_pull, tools};
use crate::{
    cluster::manifests::namespace_name,
    desired::model::{
        AgentView, ClosesIssue, Desired, DurationText, LabelMeaning, LabelsAfter, RbacProfile,
        RuntimeMode, StageSpec, Template, TemplateKind,
        template::{block_mark, lacking_blocks},
    },
    domain::{
        agent_cli::AgentCli,
        answer::AskedPart,
        effect::content_hash,
        forge::{Issue, PullRequest},
        ids::{BranchName, CommitSha, LabelName, Locale, ProjectKey, Revision, Subject},
        marker::runs_marked_in,
        messages::{asked_block, learning_block, rules_block, tools_block},
        mirror::RepositoryMirror,
        model_route::ModelRoute,
        run::{ChoiceSource, CommitIdentity, FrozenRun, PullRequestRule, Run},
        tools::ToolGrant,
    },
    prompts::render::render,
};

/// What a launch fixes.
pub(super) struct Launch {
    pub(super) frozen: FrozenRun,
    pub(super) branch: BranchName,
    pub(super) head: Option<CommitSha>,
}

/// Why a run cannot be frozen.
pub(super) enum NotYet {
    /// Something is missing that comes by itself.
    Wait(String),
    /// It will never be possible: the run is rejected.
    Never(String),
}

/// What a run is frozen from.
pub(super) struct Parts<'a> {
    pub(super) run: &'a Run,
    pub(super) desired: &'a Desired,
    pub(super) project: &'a ProjectKey,
    pub(super) mirror: &'a RepositoryMirror,
    pub(super) issue: &'a Issue,
    pub(super) stage: &'a StageSpec,
    pub(super) agent: AgentView<'a>,
    pub(super) pull: Option<&'a PullRequest>,
    pub(super) branch: BranchName,
    pub(super) base: BranchName,
}

/// Freezes a pending run.
pub(super) fn freeze(index: &Index<'_>, run: &Run) -> Result<Launch, NotYet> {
    let wait = |text: &str| NotYet::Wait(text.to_owned());
    let desired = index
        .desired()
        .ok_or_else(|| wait("no config is accepted yet"))?;
    let project = index
        .project_key()
        .ok_or_else(|| wait("the run has no project"))?;
    let mirror = index.repository(run.repository).map_err(NotYet::Wait)?;
    let issue = index
        .issues
        .get(&run.work_subject())
        .or_else(|| index.issues.get(&run.subject()))
        .copied()
        .ok_or_else(|| wait("the issue is not read yet"))?;
    let stage = desired
        .stage(&run.kind.stage)
        .ok_or_else(|| wait("the config does not know the stage"))?;
    let agent = desired
        .agent_for(project, &run.kind.stage)
        .ok_or_else(|| wait("the config has no agent for the stage"))?;
    let pull = if run.kind.revise {
        super::revise::revised_pull_of(index, run.work_subject(), run.subject())
    } else {
        None
    };
    if run.kind.revise && pull.is_none() {
        return Err(NotYet::Never(
            "there is no open pull request of ours to revise".to_owned(),
        ));
    }
    let (branch, head) = branch(index, run, pull)?;
    let base = desired
        .repository(&mirror.configured_name)
        .and_then(|(_, repository)| repository.base_branch.clone())
        .unwrap_or_else(|| mirror.record.default_branch.clone());
    let base = pull.map_or(base, |pull| pull.base.clone());
    let parts = Parts {
        run,
        desired,
        project,
        mirror,
        issue,
        stage,
        agent,
        pull,
        branch,
        base,
    };
    let frozen = frozen(index, &parts)?;
    Ok(Launch {
        frozen,
        branch: parts.branch,
        head,
    })
}

/// The branch and where it stands: the pull request's on a revise; else `codex/issue-N`,
/// or a name of the run's own where that is someone else's or was merged.
fn branch(
    index: &Index<'_>,
    run: &Run,
    pull: Option<&PullRequest>,
) -> Result<(BranchName, Option<CommitSha>), NotYet> {
    if let Some(pull) = pull {
        return Ok((pull.head.clone(), Some(pull.head_sha.clone())));
    }
    let name = format!("codex/issue-{}", run.work_item);
    let own = || BranchName::new(format!("{name}-{}", run.id.short()));
    // Work on the issue goes on where its open pull request stands.
    let open = revised_pull(index, run.work_subject()).filter(|pull| pull.head.as_str() != name);
    if let Some(pull) = open {
        return Ok((pull.head.clone(), Some(pull.head_sha.clone())));
    }
    match index.branch(run.repository, &name) {
        None => Err(NotYet::Wait(format!("branch {name} is not read yet"))),
        Some(row) if row.head.is_some() && is_over(index, run, &name) => Ok((own(), None)),
        Some(row) if row.head.is_none() || row.ours || has_our_pull(index, run, &name) => {
            Ok((BranchName::new(name), row.head.clone()))
        }
        Some(_) => Ok((own(), None)),
    }
}

/// Whether a pull request of ours comes from the branch: then a push of ours made it, even
/// where a restored database has forgotten that.
fn has_our_pull(index: &Index<'_>, run: &Run, branch: &str) -> bool {
    our_pulls(index, run, branch).next().is_some()
}

/// Whether the branch has done its work: what was squashed or rebased in the merge would come
/// back as a conflict, and what is superseded is not built upon.
fn is_over(index: &Index<'_>, run: &Run, branch: &str) -> bool {
    let newest = our_pulls(index, run, branch).max_by_key(|pull| pull.number);
    newest.is_some_and(|pull| {
        pull.merged || reopen::is_superseded_pull(index, run.work_subject(), pull.number)
    })
}

fn our_pulls<'a>(
    index: &Index<'a>,
    run: &Run,
    branch: &str,
) -> impl Iterator<Item = &'a PullRequest> {
    let pulls = index.pulls_of_branch(run.repository, branch).into_iter();
    let own = &index.own;
    let is_ours = move |pull: &&PullRequest| {
        let author = pull.author.as_ref();
        author.is_some_and(|author| own.iter().any(|own| own.actor.id == author.id))
    };
    pulls.filter(move |pull| is_ours(pull) && !runs_marked_in(&pull.body).is_empty())
}

fn frozen(index: &Index<'_>, parts: &Parts<'_>) -> Result<FrozenRun, NotYet> {
    let Parts {
        desired,
        project,
        agent,
        stage,
        ..
    } = *parts;
    let policy = desired
        .policy_for(project, agent.key)
        .ok_or_else(|| NotYet::Wait("the agent's policy is not in the config".to_owned()))?;
    let labels = chosen_labels(parts, index);
    let model = one_of(&labels, |meaning| match meaning {
        LabelMeaning::Model(model) => Some(model.clone()),
        _ => None,
    })?;
    let reasoning = one_of(&labels, |meaning| match meaning {
        LabelMeaning::Reasoning(effort) => Some(effort.as_str().to_owned()),
        _ => None,
    })?;
    let default_model = || desired.default_model(agent.spec).to_owned();
    let (model, model_source) = match model {
        Some((model, _)) if desired.platform.models.lacks_subscription(&model) => {
            (default_model(), ChoiceSource::NoSubscription)
        }
        Some(chosen) => chosen,
        None => (default_model(), default_of(agent.spec.model.is_some())),
    };
    let (reasoning, reasoning_source) = reasoning.unwrap_or_else(|| {
        let effort = desired.default_reasoning(agent.spec);
        let source = default_of(agent.spec.reasoning.is_some());
        (effort.as_str().to_owned(), source)
    });
    let cli = desired
        .cli(agent.spec)
        .ok_or_else(|| NotYet::Wait("the agent's program is not in the config".to_owned()))?
        .into_owned();
    let tools = tools::grant(desired, project, policy);
    let (template, prompt) = prompt(index, parts, (&model, &reasoning), &tools)?;
    // Who gets the repository alone has nothing to do in the cluster.
    let profile = match stage.runtime_mode {
        RuntimeMode::FullEnv => agent.spec.rbac_profile.as_str(),
        RuntimeMode::CodeOnly => RbacProfile::None.as_str(),
    };
    Ok(FrozenRun {
        revision: desired.revision.unwrap_or(Revision(0)),
        config_sha: desired.sha.clone(),
        repository_name: parts.mirror.record.name.clone(),
        agent: agent.key.clone(),
        policy: agent.spec.policy.to_string(),
        runtime_mode: stage.runtime_mode.as_str().to_owned(),
        image: agent.spec.image.clone(),
        models: models(desired, project, &cli, &model)?,
        tools,
        cli,
        environment: agent.spec.environment.clone(),
        model: Some(model),
        model_source,
        reasoning: Some(reasoning),
        reasoning_source,
        locale: desired.locale(project).clone(),
        template: template.name.to_string(),
        template_scope: template.scope.as_str().to_owned(),
        template_locale: (template.locale != *desired.locale(project))
            .then(|| template.locale.clone()),
        template_hash: template.hash(),
        prompt_hash: content_hash(prompt.as_bytes()),
        prompt,
        base_branch: parts.base.clone(),
        issue_title: parts.issue.title.clone(),
        pull_request: stage.pull_request,
        closes_issue: closes_issue(index, parts),
        asked: asked(parts, desired.locale(project))
            .map(|(part, _)| part)
            .collect(),
        namespace: namespace(index, parts),
        timeout_seconds: seconds(policy.run_timeout),
        wait_seconds: seconds(policy.wait_timeout),
        max_attempts: i32::try_from(policy.max_attempts).unwrap_or(3).max(1),
        success_labels: outcome_labels(desired, &stage.on_success),
        question_labels: outcome_labels(desired, &with_questions(stage)),
        failure_labels: outcome_labels(desired, &stage.on_failure),
        clear_labels: clear_labels(desired),
        allow_workflow_pushes: desired.guardrails(project).allow_workflow_pushes,
        rbac_profile: (profile != RbacProfile::None.as_str()).then(|| profile.to_owned()),
        requests: agent.spec.resources.requests.clone(),
        limits: agent.spec.resources.limits.clone(),
        runtime_class: desired.platform.runtime_class.clone(),
        author: CommitIdentity {
            name: agent.spec.author.name.clone(),
            email: agent.spec.author.email.clone(),
        },
        learning: learns(parts),
        revises: parts.pull.map(|pull| pull.number),
        reviews: super::review::known(index, parts.pull),
    })
}

/// Whose default it is: the agent's own, or the platform's.
const fn default_of(own: bool) -> ChoiceSource {
    if own {
        ChoiceSource::AgentDefault
    } else {
        ChoiceSource::PlatformDefault
    }
}

/// Where the program's model calls go, and what they may use; `None` where it makes none through
/// the run API.
fn models(
    desired: &Desired,
    project: &ProjectKey,
    cli: &AgentCli,
    model: &str,
) -> Result<Option<ModelRoute>, NotYet> {
    let Some(name) = &cli.provider else {
        return Ok(None);
    };
    let models = &desired.platform.models;
    let mut providers = models.providers.iter();
    let provider = providers
        .find(|provider| provider.name.as_str() == name)
        .ok_or_else(|| NotYet::Wait(format!("provider `{name}` is not in the config")))?;
    let spec = models.catalogue.iter().find(|spec| spec.id == model);
    let other = spec.and_then(|spec| spec.provider.as_ref());
    if let Some(other) = other.filter(|other| other.as_str() != name) {
        return Err(NotYet::Never(format!(
            "model {model} is served by {other}, and the agent's program speaks to {name}"
        )));
    }
    let budgets = desired
        .project(project)
        .map(|project| &project.spec.budgets);
    Ok(Some(ModelRoute {
        provider: name.clone(),
        wire: provider.wire,
        url: provider.url.clone(),
        price: spec.and_then(|spec| spec.price),
        tokens_per_run: budgets.and_then(|budgets| budgets.tokens_per_run),
        tokens_per_day: budgets.and_then(|budgets| budgets.tokens_per_day),
    }))
}

/// What the stage asks of the answer besides the usual, and what belongs there.
fn asked<'a>(parts: &Parts<'a>, locale: &'a Locale) -> impl Iterator<Item = (AskedPart, &'a str)> {
    let asked = parts.stage.answer.iter();
    asked.map(|part| part.asked(locale))
}

/// Whether whoever asked for the run wants to learn from it: somebody did, and it may leave a
/// pull request to learn from.
fn learns(parts: &Parts<'_>) -> bool {
    let actor = parts.run.actor.as_ref().map(|actor| actor.id);
    actor.is_some()
        && parts.stage.pull_request != PullRequestRule::None
        && parts.desired.learning_mode(parts.project, actor)
}

/// What a success puts on where it leaves questions.
pub(super) fn with_questions(stage: &StageSpec) -> LabelsAfter {
    let (well, open) = (&stage.on_success, &stage.on_questions);
    LabelsAfter {
        state: open.state.or(well.state),
        needs: well.needs.union(&open.needs).cloned().collect(),
    }
}

/// Whether merging the run's pull request closes the issue: one that goes through several
/// stages is still needed by the next.
fn closes_issue(index: &Index<'_>, parts: &Parts<'_>) -> bool {
    let other_stage = |run: &&Run| {
        run.work_subject() == parts.run.work_subject() && run.kind.stage != parts.run.kind.stage
    };
    match parts.stage.closes_issue {
        ClosesIssue::Never => false,
        ClosesIssue::Always => true,
        ClosesIssue::Alone => !index.runs.values().copied().any(|run| other_stage(&run)),
    }
}

/// The `state:*` and `need:*` labels that an outcome puts on.
pub(super) fn outcome_labels(desired: &Desired, after: &LabelsAfter) -> Vec<LabelName> {
    let state = after
        .state
        .and_then(|state| desired.labels.state.get(state));
    let needs = after
        .needs
        .iter()
        .filter_map(|need| desired.labels.need.get(need));
    state
        .into_iter()
        .chain(needs)
        .map(|label| label.name.clone())
        .collect()
}

/// Every `state:*` label: an outcome takes off those it does not put on.
pub(super) fn clear_labels(desired: &Desired) -> Vec<LabelName> {
    desired
        .labels
        .state
        .iter()
        .map(|(_, label)| label.name.clone())
        .collect()
}

/// The labels on one subject that mean something.
type Level<'a> = (ChoiceSource, Vec<(&'a LabelName, LabelMeaning)>);

/// Never zero; the config's are not.
fn seconds(duration: DurationText) -> i64 {
    i64::try_from(duration.as_secs())
        .unwrap_or(i64::MAX / 2)
        .max(1)
}

/// What the labels on pull request and issue mean, the pull request's first.
fn chosen_labels<'a>(parts: &Parts<'a>, index: &Index<'a>) -> Vec<Level<'a>> {
    let meanings = |labels: &'a [LabelName]| {
        let known = labels.iter().filter_map(|label| {
            let meaning = parts.desired.label_in(parts.project, label.as_str());
            Some((label, meaning?))
        });
        known.collect::<Vec<_>>()
    };
    let on_pull = parts.pull.and_then(|pull| {
        index.issues.get(&Subject {
            repository: pull.repository,
            number: pull.number,
        })
    });
    on_pull
        .into_iter()
        .map(|issue| (ChoiceSource::PullRequestLabel, meanings(&issue.labels)))
        .chain([(ChoiceSource::IssueLabel, meanings(&parts.issue.labels))])
        .collect()
}

/// The one choice of the first level that makes one; two at one level contradict each other.
fn one_of(
    levels: &[Level<'_>],
    pick: impl Fn(&LabelMeaning) -> Option<String>,
) -> Result<Option<(String, ChoiceSource)>, NotYet> {
    for (source, level) in levels {
        let chosen = level
            .iter()
            .filter_map(|(label, meaning)| Some((pick(meaning)?, *label)));
        let chosen: BTreeMap<String, &LabelName> = chosen.collect();
        let mut names: Vec<_> = chosen.values().map(|label| format!("`{label}`")).collect();
        names.sort();
        match chosen.into_keys().collect::<Vec<_>>().as_slice() {
            [] => {}
            [one] => return Ok(Some((one.clone(), *source))),
            _ => {
                return Err(NotYet::Never(format!(
                    "labels choose more than one of the same: {}",
                    names.join(", ")
                )));
            }
        }
    }
    Ok(None)
}

/// The template's words between the platform's own: what always holds above them, the tools
/// above what is foreign, and what is asked of the answer below.
fn prompt<'a>(
    index: &Index<'_>,
    parts: &Parts<'a>,
    (model, reasoning): (&str, &str),
    tools: &ToolGrant,
) -> Result<(&'a Template, String), NotYet> {
    let Parts {
        run,
        desired,
        project,
        agent,
        ..
    } = *parts;
    let kind = if run.kind.revise {
        TemplateKind::Review
    } else {
        TemplateKind::Work
    };
    let template = desired
        .template_for(
            project,
            agent.key,
            &run.kind.stage,
            kind,
            desired.locale(project),
        )
        .ok_or_else(|| NotYet::Wait("the config has no prompt template for this run".to_owned()))?;
    let mut context = context(index, parts, model, reasoning);
    context["locale"] = json!(template.locale);
    let name = template.name.to_string();
    let said = render(&name, &template.body, &context)
        .map_err(|error| NotYet::Never(error.to_string()))?;
    // Rendered with other values it was whole when it was taken.
    if let Some(wrong) = lacking_blocks(&said).into_iter().next() {
        return Err(NotYet::Never(format!("prompt template `{name}`: {wrong}")));
    }
    let mark = block_mark("context");
    let tools = tools_block(&template.locale, tools);
    let said = said.replacen(&mark, &format!("{tools}{mark}"), 1);
    let mut text = format!("{}\n{said}", rules_block(&template.locale));
    let asked: Vec<_> = asked(parts, &template.locale).collect();
    text.push_str(&asked_block(&template.locale, &asked));
    if learns(parts) {
        text.push_str(&learning_block(&template.locale));
    }
    Ok((template, text))
}

pub(super) fn namespace(index: &Index<'_>, parts: &Parts<'_>) -> String {
    let run = parts.run;
    let issue = u64::try_from(run.work_item.0).unwrap_or_default();
    let prefix = &index.settings().namespace_prefix;
    namespace_name(prefix, parts.project.as_str(), issue, run.id.0)
}
