//! What asks for stages without a label of their own: its repository and stage exist, its times can be read,
//! and no two of them contradict each other on one issue.

use std::collections::BTreeMap;

use super::{among, stage_kinds};
use crate::{
    desired::{
        load::{
            document::{Document, Scope},
            error::{Code, ConfigError},
            objects::Objects,
            suggest::did_you_mean,
        },
        model::{RepositorySpec, StageModelSpec},
    },
    domain::{
        ids::{IssueNumber, StageKind},
        run::PullRequestRule,
    },
};

/// What was asked for first on each issue of the repositories, and by what.
type Asked<'a> = BTreeMap<(String, IssueNumber), (&'a StageKind, String)>;

pub(super) fn check(objects: &Objects, errors: &mut Vec<ConfigError>) {
    let mut asked = Asked::new();
    for repository in &objects.repositories {
        for (index, push) in repository.spec.on_push.iter().enumerate() {
            let path = ["spec", "onPush", &index.to_string(), "stage"];
            stage(objects, repository, &path, &push.stage, errors);
            let on = (id_of(repository), push.issue);
            agrees(&mut asked, repository, &path, (on, &push.stage), errors);
        }
    }
    for schedule in &objects.schedules {
        let spec = &schedule.spec;
        stage(objects, schedule, &["spec", "stage"], &spec.stage, errors);
        if let Some((field, message)) = spec.error() {
            errors.push(schedule.error(&["spec", field], Code::InvalidValue, message));
        }
        let Scope::Project(project) = &schedule.scope else {
            continue;
        };
        let own = || {
            let repositories = objects.repositories.iter();
            repositories.filter(|row| Objects::project_of(row).as_ref() == Some(project))
        };
        let Some(repository) = own().find(|row| row.name == spec.repository) else {
            let name = spec.repository.as_str();
            let hint = did_you_mean(name, own().map(|row| row.name.as_str()));
            let message = format!("the project has no Repository `{name}`{hint}");
            let path = ["spec", "repository"];
            errors.push(schedule.error(&path, Code::DanglingReference, message));
            continue;
        };
        let on = (id_of(repository), spec.issue);
        agrees(
            &mut asked,
            schedule,
            &["spec", "stage"],
            (on, &spec.stage),
            errors,
        );
    }
}

/// One stage discusses at most. It has a label, leaves nothing to revise and no pull request, and
/// no other label asks for it.
pub(super) fn discussion(
    objects: &Objects,
    model: &Document<StageModelSpec>,
    errors: &mut Vec<ConfigError>,
) {
    let stages = model.spec.stages.iter().enumerate();
    for (number, (index, stage)) in stages.filter(|(_, stage)| stage.discussion).enumerate() {
        let mut wrong = |field: &str, message: &str| {
            let path = ["spec", "stages", &index.to_string(), field];
            let message = format!("stage `{}` discusses: {message}", stage.kind);
            errors.push(model.error(&path, Code::InvalidValue, message));
        };
        if number > 0 {
            wrong("discussion", "another one does already");
        }
        if stage.pull_request != PullRequestRule::None {
            wrong("pullRequest", "it opens no pull request, `none`");
        }
        if stage.revisable {
            wrong("revisable", "there is nothing to revise");
        }
        let Some(catalogue) = objects.catalogues.first() else {
            continue;
        };
        if catalogue.spec.discussion.is_none() {
            wrong(
                "discussion",
                "the label catalogue has no label `discussion`",
            );
        }
        let mut triggers = catalogue.spec.triggers.iter();
        if triggers.any(|trigger| trigger.stage == stage.kind) {
            wrong("kind", "a label of `triggers` asks for it as well");
        }
    }
}

fn id_of(repository: &Document<RepositorySpec>) -> String {
    let spec = &repository.spec;
    format!("{}/{}", spec.owner, spec.name).to_lowercase()
}

fn stage<T>(
    objects: &Objects,
    document: &Document<T>,
    path: &[&str],
    stage: &StageKind,
    errors: &mut Vec<ConfigError>,
) {
    if let Some(kinds) = stage_kinds(objects) {
        let known = kinds.iter().copied();
        among(document, path, ("stage", stage.as_str()), known, errors);
    }
}

/// Stages of different kinds on one issue would wait for each other for ever.
fn agrees<'a, T>(
    asked: &mut Asked<'a>,
    document: &'a Document<T>,
    path: &[&str],
    (on, stage): ((String, IssueNumber), &'a StageKind),
    errors: &mut Vec<ConfigError>,
) {
    let place = || (stage, format!("`{}` in {}", document.name, document.file));
    let (first, by) = asked.entry(on.clone()).or_insert_with(place);
    if *first != stage {
        let (repository, issue) = on;
        let message = format!(
            "on issue {issue} of {repository} {by} asks for stage `{first}` already; \
             one issue is for one stage"
        );
        errors.push(document.error(path, Code::InvalidValue, message));
    }
}
