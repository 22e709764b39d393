//! Labels of a repository and of an issue.

use serde_json::Value;

use super::super::call::{Access, Call, Need, Route, Scope};
use super::super::reply::{Answer, Reply};
use super::super::world::{Label, Permission};
use super::issues::{label_names, present};

const READ: Need = Need::Repo(Scope::Issues, Access::Read, Permission::Read);
const DEFINE: Need = Need::Repo(Scope::Issues, Access::Write, Permission::Write);
const USE: Need = Need::Repo(Scope::Issues, Access::Write, Permission::Triage);
const OF_REPO: &str = "/repos/{owner}/{repo}/labels";
const NAMED: &str = "/repos/{owner}/{repo}/labels/{name}";
const OF_ISSUE: &str = "/repos/{owner}/{repo}/issues/{issue_number}/labels";
const NAMED_ON_ISSUE: &str = "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}";

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: OF_REPO,
        need: READ,
        run: list,
    },
    Route {
        method: "POST",
        path: OF_REPO,
        need: DEFINE,
        run: create,
    },
    Route {
        method: "GET",
        path: NAMED,
        need: READ,
        run: get,
    },
    Route {
        method: "PATCH",
        path: NAMED,
        need: DEFINE,
        run: change,
    },
    Route {
        method: "DELETE",
        path: NAMED,
        need: DEFINE,
        run: delete,
    },
    Route {
        method: "GET",
        path: OF_ISSUE,
        need: READ,
        run: list_of_issue,
    },
    Route {
        method: "POST",
        path: OF_ISSUE,
        need: USE,
        run: add,
    },
    Route {
        method: "PUT",
        path: OF_ISSUE,
        need: USE,
        run: set,
    },
    Route {
        method: "DELETE",
        path: OF_ISSUE,
        need: USE,
        run: remove_all,
    },
    Route {
        method: "DELETE",
        path: NAMED_ON_ISSUE,
        need: USE,
        run: remove,
    },
];

fn list(call: &mut Call<'_>) -> Answer {
    let repo = call.repo()?;
    let mut labels: Vec<&Label> = repo.labels.values().collect();
    labels.sort_by_key(|label| label.name.to_lowercase());
    Ok(call.list(labels, |label| call.world.label_json(repo, label)))
}

fn named(call: &Call<'_>) -> Result<Label, Reply> {
    let label = call.repo()?.label_named(call.param("name"));
    label.cloned().ok_or_else(Reply::not_found)
}

fn get(call: &mut Call<'_>) -> Answer {
    Ok(Reply::ok(
        call.world.label_json(call.repo()?, &named(call)?),
    ))
}

fn checked_color(color: Option<String>) -> Result<Option<String>, Reply> {
    let Some(color) = color else { return Ok(None) };
    if color.len() == 6 && color.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Some(color.to_ascii_lowercase()));
    }
    Err(Reply::invalid("Label", "color", "invalid", None))
}

fn create(call: &mut Call<'_>) -> Answer {
    let name = call.required_text("name")?;
    let color = checked_color(call.text("color")?)?.unwrap_or_else(|| "ededed".to_owned());
    let description = call.text("description")?;
    if call.repo()?.label_named(&name).is_some() {
        return Err(Reply::invalid("Label", "name", "already_exists", None));
    }
    let label = call
        .world
        .create_label(call.repo, &name, &color, description)?;
    Ok(Reply::json(
        201,
        call.world.label_json(call.repo()?, &label),
    ))
}

fn change(call: &mut Call<'_>) -> Answer {
    let known = named(call)?;
    let color = checked_color(call.text("color")?)?;
    let (name, description) = (call.text("new_name")?, call.text("description")?);
    if let Some(name) = &name
        && call
            .repo()?
            .label_named(name)
            .is_some_and(|other| other.id != known.id)
    {
        return Err(Reply::invalid("Label", "name", "already_exists", None));
    }
    let repo = call.world.repo_mut(call.repo)?;
    let label = repo
        .labels
        .get_mut(&known.id)
        .ok_or_else(Reply::not_found)?;
    label.name = name.unwrap_or(known.name);
    label.color = color.unwrap_or(known.color);
    label.description = description.or(known.description);
    let label = label.clone();
    Ok(Reply::ok(call.world.label_json(call.repo()?, &label)))
}

fn delete(call: &mut Call<'_>) -> Answer {
    let (name, actor) = (named(call)?.name, call.actor());
    call.world.delete_label(call.repo, &name, actor)?;
    Ok(Reply::no_content())
}

fn list_of_issue(call: &mut Call<'_>) -> Answer {
    let number = present(call)?;
    let repo = call.repo()?;
    let issue = repo
        .issues
        .get(&number)
        .and_then(|issue| issue.seen(call.world.seen_now()));
    let issue = issue.ok_or_else(Reply::not_found)?;
    Ok(call.list(call.world.labels_json(repo, issue), |label| label))
}

/// The issue's labels as they are now: every write's own answer.
fn fresh(call: &Call<'_>, number: u64) -> Answer {
    let issue = call.world.issue(call.repo, number)?;
    Ok(Reply::ok(Value::Array(
        call.world.labels_json(call.repo()?, issue),
    )))
}

/// The names of a body: `{"labels": […]}` or a bare list.
fn asked(call: &Call<'_>) -> Result<Vec<String>, Reply> {
    let list = call.body.get("labels").or(Some(&call.body));
    label_names(list).ok_or_else(|| {
        Reply::error(
            422,
            "Invalid request.\n\nFor 'labels', nil is not an array.",
        )
    })
}

fn add(call: &mut Call<'_>) -> Answer {
    let (number, names, actor) = (present(call)?, asked(call)?, call.actor());
    call.world.add_labels(call.repo, number, &names, actor)?;
    fresh(call, number)
}

fn set(call: &mut Call<'_>) -> Answer {
    let (number, names, actor) = (present(call)?, asked(call)?, call.actor());
    call.world.set_labels(call.repo, number, &names, actor)?;
    fresh(call, number)
}

fn remove_all(call: &mut Call<'_>) -> Answer {
    let (number, actor) = (present(call)?, call.actor());
    call.world.set_labels(call.repo, number, &[], actor)?;
    Ok(Reply::no_content())
}

fn remove(call: &mut Call<'_>) -> Answer {
    let (number, actor) = (present(call)?, call.actor());
    let name = call.param("name").to_owned();
    let removed = call.world.remove_label(call.repo, number, &name, actor);
    removed.map_err(|_| Reply::error(404, "Label does not exist"))?;
    fresh(call, number)
}
