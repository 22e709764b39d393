//! Refs, branches, commits, comparisons.

use serde_json::json;

use super::super::call::{Access, Call, Need, Route, Scope};
use super::super::reply::{Answer, Reply};
use super::super::store;
use super::super::world::Permission;

const READ: Need = Need::Repo(Scope::Contents, Access::Read, Permission::Read);
const WRITE: Need = Need::Repo(Scope::Contents, Access::Write, Permission::Write);

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/git/ref/{ref}",
        need: READ,
        run: reference,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/git/matching-refs/{ref}",
        need: READ,
        run: matching,
    },
    Route {
        method: "DELETE",
        path: "/repos/{owner}/{repo}/git/refs/{ref}",
        need: WRITE,
        run: delete_reference,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/branches",
        need: READ,
        run: branches,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/branches/{branch}",
        need: READ,
        run: branch,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/commits/{ref}",
        need: READ,
        run: commit,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/compare/{basehead}",
        need: READ,
        run: compare,
    },
];

fn reference(call: &mut Call<'_>) -> Answer {
    let repo = call.repo()?;
    let name = format!("refs/{}", call.param("ref"));
    let refs = store::refs(&repo.path)?;
    let sha = refs.get(&name).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(call.world.ref_json(repo, &name, sha)))
}

fn matching(call: &mut Call<'_>) -> Answer {
    let repo = call.repo()?;
    let prefix = format!("refs/{}", call.param("ref"));
    let refs = store::refs(&repo.path)?.into_iter();
    let found = refs.filter(|(name, _)| name.starts_with(&prefix)).collect();
    Ok(call.list(found, |(name, sha)| call.world.ref_json(repo, &name, &sha)))
}

fn delete_reference(call: &mut Call<'_>) -> Answer {
    let actor = call.actor();
    let path = call.repo()?.path.clone();
    let before = store::refs(&path)?;
    let name = format!("refs/{}", call.param("ref"));
    let branch = name
        .strip_prefix("refs/heads/")
        .filter(|_| before.contains_key(&name));
    let Some(branch) = branch else {
        return Err(Reply::error(422, "Reference does not exist"));
    };
    store::set_branch(&path, branch, None)?;
    call.world.refs_changed(call.repo, &before, actor)?;
    Ok(Reply::no_content())
}

fn branches(call: &mut Call<'_>) -> Answer {
    let repo = call.repo()?;
    let refs = store::refs(&repo.path)?.into_iter();
    let heads =
        refs.filter_map(|(name, sha)| Some((name.strip_prefix("refs/heads/")?.to_owned(), sha)));
    let url = call.world.repo_api_url(repo);
    Ok(call.list(heads.collect(), |(name, sha)| {
        json!({
            "name": name,
            "commit": { "sha": sha, "url": format!("{url}/commits/{sha}") },
            "protected": false,
        })
    }))
}

fn branch(call: &mut Call<'_>) -> Answer {
    let repo = call.repo()?;
    let name = call.param("branch");
    let sha =
        store::branch(&repo.path, name).ok_or_else(|| Reply::error(404, "Branch not found"))?;
    let commit = store::commit_facts(&repo.path, &sha)?;
    Ok(Reply::ok(call.world.branch_json(repo, name, &commit)))
}

fn commit(call: &mut Call<'_>) -> Answer {
    let repo = call.repo()?;
    let name = call.param("ref");
    let missing = || Reply::error(422, &format!("No commit found for SHA: {name}"));
    let commit = store::commit_facts(&repo.path, name).map_err(|_| missing())?;
    Ok(Reply::ok(call.world.commit_json(repo, &commit)))
}

fn compare(call: &mut Call<'_>) -> Answer {
    let repo = call.repo()?;
    let basehead = call.param("basehead");
    let (base, head) = basehead.split_once("...").ok_or_else(Reply::not_found)?;
    let own = |name: &str| {
        name.split_once(':')
            .map_or(name, |(_, branch)| branch)
            .to_owned()
    };
    let found = store::compare(&repo.path, &own(base), &own(head))?;
    Ok(Reply::ok(call.world.compare_json(repo, basehead, &found)))
}
