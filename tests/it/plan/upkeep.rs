//! What people and config do to labels and variables of a repository.

use std::sync::Arc;

use codex_k8s::{
    domain::{
        forge::{LabelRecord, VariableRecord},
        ids::{LabelName, ProjectKey, RepositoryId},
        mirror::OwnerVariable,
        snapshot::{RepositoryLabel, RepositoryVariable},
    },
    plan::{ActionKind, ActionName, Plan},
};

use super::world::{HELLO, NOTES, World};

impl World {
    /// Every label that the config names, as it shall be.
    pub(super) fn make_labels(&mut self) {
        let desired = Arc::clone(&self.desired);
        let catalogue = &desired.labels;
        let locale = desired.locale(&ProjectKey::from("demo"));
        let record = |name: &LabelName, colour: &str, description: &str| LabelRecord {
            name: name.clone(),
            colour: colour.to_uppercase(),
            description: description.to_owned(),
        };
        let triggers = catalogue
            .triggers
            .iter()
            .map(|label| record(&label.name, &label.colour, label.description_in(locale)));
        let others = catalogue
            .plain()
            .map(|(label, ..)| record(&label.name, &label.colour, label.description_in(locale)));
        for label in triggers.chain(others) {
            for repository in [HELLO, NOTES] {
                let label = label.clone();
                self.rows.labels.push(RepositoryLabel {
                    repository,
                    label,
                    is_confirmed: true,
                });
            }
        }
        self.rows
            .labels
            .sort_by_key(|row| (row.repository, row.label.name.clone()));
    }

    /// The labels as variables.
    pub(super) fn publish_labels(&mut self) {
        for (name, label, _) in self.desired.labels.variables() {
            for repository in [HELLO, NOTES] {
                let variable = VariableRecord {
                    name: name.clone(),
                    value: label.as_str().to_owned(),
                };
                let row = RepositoryVariable {
                    repository,
                    variable,
                };
                self.rows.variables.push(row);
            }
        }
    }

    /// Somebody gives a label another colour, or defines it.
    pub(super) fn paint_label(&mut self, repository: RepositoryId, label: &str, colour: &str) {
        let name = LabelName::new(label);
        let same =
            |row: &&mut RepositoryLabel| row.repository == repository && row.label.name == name;
        if let Some(row) = self.rows.labels.iter_mut().find(same) {
            row.label.colour = colour.to_owned();
            return;
        }
        let label = LabelRecord {
            name,
            colour: colour.to_owned(),
            description: String::new(),
        };
        self.rows.labels.push(RepositoryLabel {
            repository,
            label,
            is_confirmed: true,
        });
    }

    /// The catalogue wants another colour for a trigger label.
    pub(super) fn paint_catalogue(&mut self, label: &str, colour: &str) {
        let labels = &mut Arc::make_mut(&mut self.desired).labels;
        let mut triggers = labels.triggers.iter_mut();
        let label = triggers.find(|row| row.name == LabelName::new(label));
        colour.clone_into(&mut label.expect("a trigger label").colour);
    }

    /// Somebody sets a variable.
    pub(super) fn set_variable(&mut self, repository: RepositoryId, name: &str, value: &str) {
        let same =
            |row: &RepositoryVariable| row.repository == repository && row.variable.name == name;
        self.rows.variables.retain(|row| !same(row));
        let variable = VariableRecord {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        self.rows.variables.push(RepositoryVariable {
            repository,
            variable,
        });
    }

    fn variable(&self, repository: RepositoryId, name: &str) -> Option<&str> {
        let mut rows = self.rows.variables.iter();
        let row = rows.find(|row| row.repository == repository && row.variable.name == name)?;
        Some(&row.variable.value)
    }
}

fn upkeep(plans: &[Plan]) -> usize {
    let actions = plans.iter().flat_map(|plan| &plan.actions);
    actions
        .filter(|action| {
            matches!(
                action.kind,
                ActionKind::EnsureLabel { .. } | ActionKind::SetVariable { .. }
            )
        })
        .count()
}

#[test]
fn labels_are_published_under_the_names_that_workflows_know() {
    let mut world = World::example();
    world.rows.variables.clear();
    world.set_variable(HELLO, "DEPLOY_KEY", "theirs");
    world.set_variable(HELLO, "CODEXK8S_INSTALLATION", "test 1 0");
    for _ in 0..20 {
        world.pass();
        world.now += chrono::Duration::minutes(1);
    }
    for (name, label) in [
        ("CODEXK8S_RUN_DEV_LABEL", "run:dev"),
        ("CODEXK8S_RUN_DEV_REVISE_LABEL", "run:dev:revise"),
        ("CODEXK8S_RUN_SELF_IMPROVE_LABEL", "run:self-improve"),
        ("CODEXK8S_STATE_IN_REVIEW_LABEL", "state:in-review"),
        ("CODEXK8S_STATE_BLOCKED_LABEL", "state:blocked"),
        ("CODEXK8S_NEED_INPUT_LABEL", "need:input"),
        ("CODEXK8S_RUN_DEBUG_LABEL", "run:debug"),
        ("CODEXK8S_MODE_DISCUSSION_LABEL", "mode:discussion"),
    ] {
        for repository in [HELLO, NOTES] {
            assert_eq!(world.variable(repository, name), Some(label), "{name}");
        }
    }
    // What others have there stays, and nothing is written any more.
    assert_eq!(world.variable(HELLO, "DEPLOY_KEY"), Some("theirs"));
    let mark = world.variable(HELLO, "CODEXK8S_INSTALLATION");
    assert_eq!(mark, Some("test 1 0"));
    let named = |row: &&RepositoryVariable| row.variable.name.ends_with("_LABEL");
    let published = world.rows.variables.iter().filter(named).count();
    assert_eq!(published, 2 * world.desired.labels.variables().len());
    assert_eq!(upkeep(&world.pass()), 0);
}

#[test]
fn a_catalogue_is_written_few_writes_a_minute_and_the_rest_is_announced() {
    let mut world = World::example();
    world.rows.variables.clear();
    world.rows.labels.clear();
    world.settings.upkeep_per_minute = 10;
    let mut minutes = 0;
    loop {
        // Ten passes within a minute.
        let mut written = 0;
        let mut announced = false;
        for _ in 0..10 {
            let plans = world.pass();
            written += upkeep(&plans);
            let mut lines = plans.iter().flat_map(|plan| &plan.report);
            announced |= lines.any(|line| line.candidate == "catalogue");
        }
        assert!(written <= 10, "{written} writes in a minute");
        if written == 0 {
            break;
        }
        assert!(announced || written < 10);
        world.now += chrono::Duration::seconds(50);
        minutes += 1;
    }
    let wanted = (world.rows.labels.len() + world.rows.variables.len()).div_ceil(10);
    assert!(minutes >= wanted, "{minutes} minutes");
    assert!(world.rows.labels.len() > 60 && world.rows.variables.len() > 60);
}

#[test]
fn a_forge_that_refuses_is_not_asked_for_more_and_more() {
    let mut world = World::example();
    world.rows.labels.clear();
    world.make_labels();
    world.rows.labels.truncate(4);
    world.settings.upkeep_per_minute = 10;
    world.failing.insert(ActionName::EnsureLabel);
    for _ in 0..10 {
        world.pass();
        world.now += chrono::Duration::seconds(5);
    }
    let rows = world.rows.effects.iter();
    let tried = rows.filter(|row| row.kind == ActionName::EnsureLabel.to_string());
    assert_eq!(tried.count(), 10, "each again and again, and no others");
    world.failing.clear();
    for _ in 0..20 {
        world.pass();
        world.now += chrono::Duration::minutes(1);
    }
    assert_eq!(upkeep(&world.pass()), 0, "all of it is there in the end");
}

#[test]
fn a_credential_without_rights_to_variables_is_said_once_and_stops_nothing() {
    let mut world = World::example();
    world.rows.variables.clear();
    world.repository_mut(HELLO).owner_variable = OwnerVariable::Forbidden;
    world
        .failing
        .insert(codex_k8s::plan::ActionName::SetVariable);
    let plans = world.pass();
    // Of the one that may be written nothing stands yet: a single one is tried.
    assert_eq!(upkeep(&plans), 1);
    let plans = world.pass();
    let lines: Vec<String> = plans
        .iter()
        .flat_map(|plan| &plan.report)
        .filter(|line| line.candidate.ends_with("/variables"))
        .map(|line| format!("{} {}: {}", line.state, line.candidate, line.reason))
        .collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("may not read variables"), "{lines:#?}");
    assert!(lines[1].contains("it was told to fail"), "{lines:#?}");
    // Runs go on.
    world.label(super::world::at(12), "run:dev", "ada");
    for _ in 0..60 {
        world.pods_work();
        world.pass();
    }
    assert_eq!(world.rows.pulls.len(), 1, "{}", world.show("report"));
    assert_eq!(world.variable(NOTES, "CODEXK8S_RUN_DEV_LABEL"), None);
    world.failing.clear();
    for _ in 0..20 {
        world.now += chrono::Duration::minutes(1);
        world.pass();
    }
    let label = world.variable(NOTES, "CODEXK8S_RUN_DEV_LABEL");
    assert_eq!(label, Some("run:dev"));
    assert_eq!(world.variable(HELLO, "CODEXK8S_RUN_DEV_LABEL"), None);
}
