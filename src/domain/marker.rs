//! Machine marks in what we write at the forge: an HTML comment that carries
//! only a key. Nothing is ever read back from a text but whose it is.

use super::ids::{IssueNumber, ReviewId, RunId};

/// The mark of a comment with this key.
pub fn comment_marker(key: &str) -> String {
    format!("<!-- codex-k8s:comment:{key} -->")
}

/// Whether a text is that of a comment about a run.
pub fn is_about_run(text: &str) -> bool {
    text.contains("<!-- codex-k8s:comment:run/")
}

/// The mark of a run's pull request.
pub fn pull_request_marker(run: &RunId) -> String {
    format!("<!-- codex-k8s:run:{run} -->")
}

/// The mark that an ended run leaves in its comment: the reviews of a pull request are answered
/// up to this one.
pub fn reviews_marker(number: IssueNumber, newest: ReviewId) -> String {
    format!("<!-- codex-k8s:reviews:{number}:{newest} -->")
}

/// The pull requests whose reviews are answered by the marks in a text, and up to which.
pub fn reviews_marked_in(text: &str) -> Vec<(IssueNumber, ReviewId)> {
    text.split("<!-- codex-k8s:reviews:")
        .skip(1)
        .filter_map(|rest| rest.split_once(" -->")?.0.split_once(':'))
        .filter_map(|(number, newest)| {
            let number = IssueNumber(number.parse().ok()?);
            Some((number, ReviewId(newest.parse().ok()?)))
        })
        .collect()
}

/// The runs named by the marks in a text.
pub fn runs_marked_in(text: &str) -> Vec<RunId> {
    text.split("<!-- codex-k8s:run:")
        .skip(1)
        .filter_map(|rest| rest.split_once(" -->"))
        .filter_map(|(id, _)| id.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answered_reviews_are_found_again() {
        let mark = reviews_marker(IssueNumber(4), ReviewId(17));
        let body = format!("words\n{mark}\n<!-- codex-k8s:reviews:x:1 -->");
        assert_eq!(
            reviews_marked_in(&body),
            vec![(IssueNumber(4), ReviewId(17))]
        );
    }

    #[test]
    fn a_marked_run_is_found_again() {
        let run = RunId(uuid::Uuid::from_u128(7));
        let body = format!("words\n{}", pull_request_marker(&run));
        assert_eq!(runs_marked_in(&body), vec![run]);
        assert!(runs_marked_in("<!-- codex-k8s:run:x -->").is_empty());
    }
}
