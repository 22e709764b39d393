//! The REST operations the model serves, one file a resource.

mod accounts;
mod comments;
mod events;
mod git;
mod issues;
mod labels;
mod pulls;
mod repos;
mod reviews;

use std::collections::BTreeMap;

use super::call::Route;

/// All routes, literal paths before parameters where both would match.
pub(super) fn routes() -> impl Iterator<Item = &'static Route> {
    let groups: [&'static [Route]; 9] = [
        accounts::ROUTES,
        repos::ROUTES,
        comments::ROUTES,
        events::ROUTES,
        issues::ROUTES,
        labels::ROUTES,
        pulls::ROUTES,
        reviews::ROUTES,
        git::ROUTES,
    ];
    groups.into_iter().flatten()
}

/// The route of a request, with its path parameters.
pub(super) fn find(
    method: &str,
    path: &[String],
) -> Option<(&'static Route, BTreeMap<&'static str, String>)> {
    let mut matching = routes().filter(|route| route.method == method);
    matching.find_map(|route| Some((route, route.params(path)?)))
}

/// Whether some other method is served at this path.
pub(super) fn known_path(path: &[String]) -> bool {
    routes().any(|route| route.params(path).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> Option<&'static str> {
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        find(method, &path).map(|(route, _)| route.path)
    }

    #[test]
    fn literal_segments_win_over_parameters() {
        assert_eq!(
            found("GET", "repos/o/r/issues/events"),
            Some("/repos/{owner}/{repo}/issues/events")
        );
        assert_eq!(
            found("GET", "repos/o/r/issues/comments"),
            Some("/repos/{owner}/{repo}/issues/comments")
        );
        assert_eq!(
            found("GET", "repos/o/r/issues/7"),
            Some("/repos/{owner}/{repo}/issues/{issue_number}")
        );
        assert_eq!(found("PATCH", "repos/o/r"), None);
    }

    #[test]
    fn a_ref_may_hold_slashes() {
        assert_eq!(
            found("GET", "repos/o/r/git/ref/heads/codex/issue-1"),
            Some("/repos/{owner}/{repo}/git/ref/{ref}")
        );
        assert_eq!(
            found("GET", "repos/o/r/branches/codex/issue-1"),
            Some("/repos/{owner}/{repo}/branches/{branch}")
        );
    }
}
