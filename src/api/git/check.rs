//! What a push may do: the rules, apart from how it is received.

use crate::domain::ids::{BranchName, CommitSha};

use super::{
    cache::{Quarantine, branch_ref},
    command::GitError,
    pkt::{Commands, RefCommand},
};

/// Paths that execute in a target's CI: whoever may write them runs code there.
const EXECUTED: [&str; 8] = [
    ".github/workflows",
    ".github/actions",
    ".gitea/workflows",
    ".forgejo/workflows",
    ".circleci",
    ".gitlab-ci.yml",
    ".travis.yml",
    "Jenkinsfile",
];

/// The one ref of a push that keeps the rules of form; else why not.
pub(crate) fn well_formed<'a>(
    commands: &'a Commands,
    branch: &BranchName,
) -> Result<(&'a RefCommand, CommitSha), String> {
    if commands.shallow {
        return Err("pushes from shallow clones are not taken".to_owned());
    }
    let [command] = commands.refs.as_slice() else {
        return Err(format!("push {branch} alone"));
    };
    if command.reference != branch_ref(branch) {
        return Err(format!("this run may push {branch} only"));
    }
    match &command.new {
        Some(new) => Ok((command, new.clone())),
        None => Err("branches are not deleted by runs".to_owned()),
    }
}

/// Where the branch stands, against what the push expects; else why not.
pub(crate) fn expected_old(
    command: &RefCommand,
    head: Option<&CommitSha>,
    accepted: Option<&CommitSha>,
) -> Result<(), String> {
    if head.is_none() && accepted.is_some() {
        return Err("the branch was deleted at the forge".to_owned());
    }
    if command.old.as_ref() != head {
        return Err("the branch has moved, fetch first".to_owned());
    }
    Ok(())
}

/// Paths that execute in CI and that the push brings in: other than both the
/// branch and the point where the work left the base branch have them.
pub(crate) async fn executed_paths(
    quarantine: &Quarantine,
    old: Option<&CommitSha>,
    new: &CommitSha,
    base: &CommitSha,
) -> Result<Vec<String>, GitError> {
    let fork = quarantine
        .git(&["merge-base", base.as_str(), new.as_str()])
        .output()
        .await?;
    let fork = String::from_utf8_lossy(&fork.stdout).trim().to_owned();
    // Without common history everything differs from the base.
    let from = if fork.is_empty() {
        base.as_str()
    } else {
        &fork
    };
    let mut found = changed(quarantine, from, new).await?;
    if let Some(old) = old {
        let since = changed(quarantine, old.as_str(), new).await?;
        found.retain(|path| since.contains(path));
    }
    Ok(found)
}

async fn changed(
    quarantine: &Quarantine,
    from: &str,
    to: &CommitSha,
) -> Result<Vec<String>, GitError> {
    let args = [
        "diff-tree",
        "-r",
        "-z",
        "--name-only",
        "--no-renames",
        from,
        to.as_str(),
    ];
    let output = quarantine.git(&args).run().await?;
    let paths = output.split(|byte| *byte == 0);
    Ok(paths
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .filter(|path| executes(path))
        .collect())
}

/// Whether a path, or what lies above it, executes in CI. Letters' case is
/// ignored: some forges' file systems ignore it.
fn executes(path: &str) -> bool {
    let path = path.to_lowercase();
    EXECUTED.iter().any(|executed| {
        let executed = executed.to_lowercase();
        let below = path
            .strip_prefix(&executed)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // A file or link in the place of a folder above.
        let above = executed
            .strip_prefix(&path)
            .is_some_and(|rest| rest.starts_with('/'));
        below || (above && !path.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflow_paths_execute_and_their_neighbours_do_not() {
        for path in [
            ".github/workflows/ci.yml",
            ".GitHub/Workflows/ci.yml",
            ".github/actions/x/action.yml",
            ".github",
            ".gitlab-ci.yml",
        ] {
            assert!(executes(path), "{path}");
        }
        for path in [
            "",
            "src/main.rs",
            ".github/workflows.md",
            "docs/.github/workflows/a",
        ] {
            assert!(!executes(path), "{path}");
        }
    }

    #[test]
    fn the_branch_must_stand_where_the_push_expects_it() {
        let at = |n: u8| CommitSha::new(n.to_string().repeat(40));
        let command = RefCommand {
            old: Some(at(1)),
            new: Some(at(2)),
            reference: "refs/heads/a".to_owned(),
        };
        assert!(expected_old(&command, Some(&at(1)), None).is_ok());
        assert!(expected_old(&command, Some(&at(3)), None).is_err());
        assert!(expected_old(&command, None, Some(&at(1))).is_err());
    }
}
