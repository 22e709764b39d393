//! What the next poll of the forge is to look at: derived from the config and the last pass's rows.

use std::collections::BTreeSet;

use crate::{
    desired::model::Desired,
    domain::{
        approval::Approval,
        forge::SubjectState,
        ids::{BranchName, IssueNumber, LabelName, RepositoryId, RunId, Subject},
        run::{EnvironmentState, Run},
        snapshot::StoreSnapshot,
        trigger::{Disposition, Trigger},
    },
    forge::Account,
    observed::forge::{PollRequest, RepositoryBinding},
    plan,
};

/// What the rows of a pass ask the polls after it to look at, beside what moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Subjects, in order.
    pub hot: Vec<Subject>,
    /// Accounts whose rights are asked for, by repository and id.
    pub actors: Vec<(RepositoryId, Account)>,
    /// Branches, in order.
    pub branches: Vec<(RepositoryId, BranchName)>,
}

impl Wanted {
    /// What these rows ask for.
    pub fn of(desired: &Desired, rows: &StoreSnapshot) -> Self {
        let triggers = rows.triggers.iter();
        let live: Vec<&Trigger> = triggers.filter(|trigger| !trigger.settled).collect();
        let standing: BTreeSet<RunId> = rows
            .environments
            .iter()
            .filter(|row| row.state != EnvironmentState::Gone)
            .map(|row| row.run)
            .collect();
        // Runs whose subjects still matter: not finalised, or their environment is still there.
        let is_hot = |run: &&Run| run.finalized_at.is_none() || standing.contains(&run.id);
        let runs: Vec<&Run> = rows.runs.iter().filter(is_hot).collect();
        Self {
            hot: hot(desired, &live, &runs, rows),
            actors: actors(desired, &live, &runs, rows),
            branches: branches(&live, &runs, rows),
        }
    }

    /// The repositories in which something is wanted that no poll was asked for yet.
    pub(super) fn beyond(&self, asked: &PollRequest) -> BTreeSet<RepositoryId> {
        let before: BTreeSet<_> = asked.hot.iter().collect();
        let hot = self.hot.iter().filter(|subject| !before.contains(subject));
        let before: BTreeSet<_> = asked.branches.iter().collect();
        let branches = self.branches.iter().filter(|one| !before.contains(one));
        let account = |(repository, account): &(RepositoryId, Account)| (*repository, account.id);
        let before: BTreeSet<_> = asked.actors.iter().map(account).collect();
        let actors = self
            .actors
            .iter()
            .filter(|one| !before.contains(&account(one)));
        hot.map(|subject| subject.repository)
            .chain(branches.map(|(repository, _)| *repository))
            .chain(actors.map(|(repository, _)| *repository))
            .collect()
    }
}

/// Makes the request.
pub fn poll_request(desired: &Desired, wanted: Wanted) -> PollRequest {
    let bound = desired
        .repositories()
        .map(|(project, repository)| RepositoryBinding {
            project: project.clone(),
            name: repository.name.clone(),
            adopt_existing: desired
                .project(project)
                .is_some_and(|project| project.spec.adopt_existing),
        })
        .collect();
    let sweep_labels = desired
        .labels
        .triggers
        .iter()
        .map(|label| label.name.clone())
        .chain(discussion(desired).cloned())
        .collect();
    PollRequest {
        bound,
        hot: wanted.hot,
        actors: wanted.actors,
        branches: wanted.branches,
        sweep_labels,
        discussed: discussion(desired).cloned(),
    }
}

/// The label of discussions.
fn discussion(desired: &Desired) -> Option<&LabelName> {
    desired.discussion().map(|(_, label)| &label.name)
}

fn hot(desired: &Desired, live: &[&Trigger], runs: &[&Run], rows: &StoreSnapshot) -> Vec<Subject> {
    let on = |repository, number| Subject { repository, number };
    let mut hot = BTreeSet::new();
    for run in runs {
        hot.extend([run.subject(), run.work_subject()]);
        hot.extend(run.pull_request.map(|number| on(run.repository, number)));
    }
    // Nothing starts before it is read who edited the text that it is given.
    let texts = plan::texts_of(rows, live.iter().map(|trigger| trigger.subject()));
    hot.extend(texts.into_values().flatten());
    // What is said in a discussion starts a run.
    let discussed = rows.issues.iter().filter(|issue| {
        issue.state == SubjectState::Open
            && discussion(desired).is_some_and(|label| issue.labels.contains(label))
    });
    hot.extend(discussed.map(|issue| on(issue.repository, issue.number)));
    let waiting = rows.approvals.iter().filter(|row| !row.settled);
    hot.extend(waiting.map(Approval::subject));
    // A revise needs the pull request of the work item, whose run may be over long since.
    let revised = rows
        .runs
        .iter()
        .filter(|run| hot.contains(&run.work_subject()));
    let pulls: Vec<Subject> = revised
        .filter_map(|run| Some(on(run.repository, run.pull_request?)))
        .collect();
    hot.extend(pulls);
    hot.into_iter().collect()
}

fn actors(
    desired: &Desired,
    live: &[&Trigger],
    runs: &[&Run],
    rows: &StoreSnapshot,
) -> Vec<(RepositoryId, Account)> {
    let account = |repository, actor: &Option<crate::domain::forge::Actor>| {
        let actor = actor.as_ref()?;
        Some((
            repository,
            Account {
                id: actor.id,
                login: actor.login.clone(),
            },
        ))
    };
    let waiting = live
        .iter()
        .filter(|trigger| matches!(trigger.disposition, Disposition::Waiting(_)))
        .filter_map(|trigger| account(trigger.identity.repository, &trigger.actor));
    let pending = runs
        .iter()
        .filter(|run| run.state == crate::domain::run::RunState::Pending)
        .filter_map(|run| account(run.repository, &run.actor));
    let deciders = plan::deciders(desired, rows).into_iter();
    let deciders = deciders.filter_map(|(repository, actor)| account(repository, &Some(actor)));
    let editors = plan::editors(desired, rows).into_iter();
    let editors = editors.filter_map(|(repository, actor)| account(repository, &Some(actor)));
    let asked = waiting.chain(pending).chain(deciders);
    let mut actors: Vec<_> = asked.chain(editors).collect();
    actors.sort_by_key(|(repository, account)| (*repository, account.id));
    actors.dedup_by_key(|(repository, account)| (*repository, account.id));
    actors
}

fn branches(
    live: &[&Trigger],
    runs: &[&Run],
    rows: &StoreSnapshot,
) -> Vec<(RepositoryId, BranchName)> {
    let named = |repository, number: IssueNumber| {
        (repository, BranchName::new(format!("codex/issue-{number}")))
    };
    let pulls: BTreeSet<(RepositoryId, IssueNumber)> = rows
        .pulls
        .iter()
        .map(|pull| (pull.repository, pull.number))
        .collect();
    let waiting = live
        .iter()
        .filter(|trigger| matches!(trigger.disposition, Disposition::Waiting(_)))
        .filter(|trigger| !pulls.contains(&(trigger.identity.repository, trigger.number)))
        .map(|trigger| named(trigger.identity.repository, trigger.number));
    let pending = runs
        .iter()
        .filter(|run| run.state == crate::domain::run::RunState::Pending)
        .map(|run| named(run.repository, run.work_item));
    // Where the database was restored, its branches may have moved since.
    let unread = |repository| {
        let mut mirrors = rows.repositories.iter();
        mirrors.any(|mirror| mirror.id() == repository && !mirror.complete)
    };
    let active = runs
        .iter()
        .filter(|run| run.state.is_active() && unread(run.repository))
        .filter_map(|run| Some((run.repository, run.branch.clone()?)));
    let branches: BTreeSet<_> = waiting.chain(pending).chain(active).collect();
    branches.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::UserId;

    const HERE: RepositoryId = RepositoryId(1);
    const THERE: RepositoryId = RepositoryId(2);

    fn ada() -> Account {
        Account {
            id: UserId(7),
            login: "ada".to_owned(),
        }
    }

    fn on(repository: RepositoryId, number: i64) -> Subject {
        Subject {
            repository,
            number: IssueNumber(number),
        }
    }

    #[test]
    fn only_what_no_poll_was_asked_for_is_read_at_once() {
        let branch = || BranchName::from("codex/issue-3");
        let asked = PollRequest {
            hot: vec![on(HERE, 3)],
            actors: vec![(HERE, ada())],
            branches: vec![(HERE, branch())],
            ..PollRequest::default()
        };
        let beyond = |wanted: Wanted| wanted.beyond(&asked).into_iter().collect::<Vec<_>>();
        let known = Wanted {
            hot: asked.hot.clone(),
            actors: asked.actors.clone(),
            branches: asked.branches.clone(),
        };
        assert_eq!(beyond(Wanted::default()), []);
        assert_eq!(beyond(known.clone()), []);
        let mut renamed = known.clone();
        renamed.actors[0].1.login = "ada-l".to_owned();
        assert_eq!(beyond(renamed), [], "who it is, its id says");

        let mut more = known.clone();
        more.hot.push(on(THERE, 3));
        assert_eq!(beyond(more), [THERE]);
        let mut more = known.clone();
        more.actors.push((THERE, ada()));
        assert_eq!(beyond(more), [THERE]);
        let mut more = known;
        more.branches.push((THERE, branch()));
        more.hot.push(on(HERE, 4));
        assert_eq!(beyond(more), [HERE, THERE]);
    }
}
