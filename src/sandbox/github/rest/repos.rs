//! Repositories, collaborators' permissions, Actions variables.

use serde_json::json;

use super::super::call::{Access, Call, Need, Route, Scope};
use super::super::reply::{Answer, Reply};
use super::super::views::variable_json;
use super::super::world::{Permission, Variable};

const READ: Need = Need::Repo(Scope::Metadata, Access::Read, Permission::Read);
const READ_VARIABLES: Need = Need::Repo(Scope::Variables, Access::Read, Permission::Write);
const WRITE_VARIABLES: Need = Need::Repo(Scope::Variables, Access::Write, Permission::Write);

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}",
        need: READ,
        run: get,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/collaborators/{username}/permission",
        need: READ,
        run: permission,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/actions/variables",
        need: READ_VARIABLES,
        run: variables,
    },
    Route {
        method: "POST",
        path: "/repos/{owner}/{repo}/actions/variables",
        need: WRITE_VARIABLES,
        run: create_variable,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/actions/variables/{name}",
        need: READ_VARIABLES,
        run: variable,
    },
    Route {
        method: "PATCH",
        path: "/repos/{owner}/{repo}/actions/variables/{name}",
        need: WRITE_VARIABLES,
        run: update_variable,
    },
];

fn get(call: &mut Call<'_>) -> Answer {
    Ok(Reply::ok(
        call.world.full_repo_json(call.repo()?, call.permission()),
    ))
}

fn permission(call: &mut Call<'_>) -> Answer {
    let login = call.param("username");
    let Some(user) = call.world.user_named(login) else {
        return Err(Reply::error(404, &format!("{login} is not a user")));
    };
    Ok(Reply::ok(call.world.permission_json(call.repo()?, user.id)))
}

/// The largest page of variables.
const MOST_VARIABLES: usize = 30;

fn variables(call: &mut Call<'_>) -> Answer {
    call.page_at_most(MOST_VARIABLES);
    let all = call.repo()?.variables.iter().collect();
    Ok(call.wrapped_list("variables", all, |(name, variable)| {
        variable_json(name, variable)
    }))
}

fn variable(call: &mut Call<'_>) -> Answer {
    let name = call.param("name").to_ascii_uppercase();
    let known = call
        .repo()?
        .variables
        .get(&name)
        .ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(variable_json(&name, known)))
}

fn create_variable(call: &mut Call<'_>) -> Answer {
    let name = call.required_text("name")?.to_ascii_uppercase();
    let value = call.required_text("value")?;
    let now = call.world.now();
    let repo = call.world.repo_mut(call.repo)?;
    if repo.variables.contains_key(&name) {
        let message = "Already exists - Variable already exists";
        return Err(Reply::error(409, message));
    }
    repo.variables.insert(
        name,
        Variable {
            value,
            created_at: now,
            updated_at: now,
        },
    );
    Ok(Reply::json(201, json!({})))
}

fn update_variable(call: &mut Call<'_>) -> Answer {
    let name = call.param("name").to_ascii_uppercase();
    let value = call.text("value")?;
    let now = call.world.now();
    let repo = call.world.repo_mut(call.repo)?;
    let known = repo.variables.get_mut(&name).ok_or_else(Reply::not_found)?;
    if let Some(value) = value {
        known.value = value;
    }
    known.updated_at = now;
    Ok(Reply::no_content())
}
