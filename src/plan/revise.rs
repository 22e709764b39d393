//! What a revise continues: the open pull request of its work item.

use super::{index::Index, reopen, sighting::may_name};
use crate::domain::{
    forge::{PullRequest, SubjectState},
    ids::{RunId, Subject},
    marker::runs_marked_in,
};

/// Whether an open pull request of ours is there whose run is not known yet, as after the loss
/// of the database: on this subject, or of this work item.
pub(super) fn is_rebuilt(index: &Index<'_>, subject: Subject, work_item: Subject) -> bool {
    let of_work_item = |run: RunId| {
        let mut triggers = index.triggers.values();
        let named = triggers.find(|row| row.identity.run_id(&index.input.installation) == run);
        named.is_some_and(|row| index.work_item(row.subject()) == work_item.number)
    };
    index.pulls.iter().any(|(on, pull)| {
        let mut runs = runs_marked_in(&pull.body).into_iter();
        on.repository == subject.repository
            && pull.state == SubjectState::Open
            && index.is_ours(pull.author.as_ref())
            && runs.any(|run| may_name(index, run) && (*on == subject || of_work_item(run)))
    })
}

/// The open pull request of ours that a revise on a work item continues.
pub(super) fn revised_pull<'a>(index: &Index<'a>, work_item: Subject) -> Option<&'a PullRequest> {
    revised_pull_of(index, work_item, work_item)
}

/// The same for a revise that was asked for on a subject: if that is such a pull request, it.
pub(super) fn revised_pull_of<'a>(
    index: &Index<'a>,
    work_item: Subject,
    on: Subject,
) -> Option<&'a PullRequest> {
    index
        .runs_on(work_item)
        .iter()
        .filter(|run| run.state.is_terminal() && !reopen::is_superseded(index, run))
        .filter_map(|run| {
            let number = run.pull_request?;
            index
                .pulls
                .get(&Subject {
                    repository: run.repository,
                    number,
                })
                .copied()
        })
        .filter(|pull| pull.state == SubjectState::Open)
        .max_by_key(|pull| (pull.number == on.number, pull.number))
}
