//! `/user`, `/users`, `/app`, installations and their tokens, `/rate_limit`.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::super::call::permission_in;
use super::super::call::{Call, Need, Route};
use super::super::reply::{Answer, Reply};
use super::super::views::{app_json, time};
use super::super::world::{App, Permission, Principal, Token};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/user",
        need: Need::Anyone,
        run: user,
    },
    Route {
        method: "GET",
        path: "/users/{username}",
        need: Need::Anyone,
        run: user_named,
    },
    Route {
        method: "GET",
        path: "/app",
        need: Need::App,
        run: app,
    },
    Route {
        method: "GET",
        path: "/app/installations",
        need: Need::App,
        run: installations,
    },
    Route {
        method: "GET",
        path: "/app/installations/{installation_id}",
        need: Need::App,
        run: installation,
    },
    Route {
        method: "POST",
        path: "/app/installations/{installation_id}/access_tokens",
        need: Need::App,
        run: access_token,
    },
    Route {
        method: "GET",
        path: "/installation/repositories",
        need: Need::Installation,
        run: installation_repositories,
    },
    Route {
        method: "GET",
        path: "/rate_limit",
        need: Need::Anyone,
        run: rate_limit,
    },
];

/// How long an installation token lives.
const TOKEN_LIFE: TimeDelta = TimeDelta::hours(1);

fn user(call: &mut Call<'_>) -> Answer {
    match call.principal {
        Principal::User { user, .. } => Ok(Reply::ok(call.world.user_profile_json(user))),
        _ => Err(Reply::error(403, "Resource not accessible by integration")),
    }
}

fn user_named(call: &mut Call<'_>) -> Answer {
    let user = call
        .world
        .user_named(call.param("username"))
        .ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(call.world.user_profile_json(user.id)))
}

fn own_app<'c>(call: &'c Call<'_>) -> Result<&'c App, Reply> {
    let Principal::App { app } = call.principal else {
        return Err(Reply::not_found());
    };
    call.world.apps.get(&app).ok_or_else(Reply::not_found)
}

fn app(call: &mut Call<'_>) -> Answer {
    Ok(Reply::ok(app_json(call.world, own_app(call)?)))
}

fn installations(call: &mut Call<'_>) -> Answer {
    let app = own_app(call)?;
    Ok(call.list(vec![app], |app| call.world.installation_json(app)))
}

fn own_installation<'c>(call: &'c Call<'_>) -> Result<&'c App, Reply> {
    let asked = call.number("installation_id")?;
    let app = own_app(call)?;
    if app.installation == asked {
        Ok(app)
    } else {
        Err(Reply::not_found())
    }
}

fn installation(call: &mut Call<'_>) -> Answer {
    Ok(Reply::ok(
        call.world.installation_json(own_installation(call)?),
    ))
}

fn access_token(call: &mut Call<'_>) -> Answer {
    let app = own_installation(call)?.clone();
    if app.suspended {
        return Err(Reply::error(403, "This installation has been suspended"));
    }
    let expires_at = call.world.now() + TOKEN_LIFE;
    let (high, low) = (call.world.seeded.next(), call.world.seeded.next());
    let text = format!("ghs_{high:016x}{low:016x}");
    let token = Token {
        principal: Principal::Installation { app: app.id },
        repositories: app.repositories.clone(),
        permissions: Some(app.permissions.clone()),
        expires_at: Some(expires_at),
    };
    call.world.tokens.insert(text.clone(), token);
    let selection = if app.repositories.is_some() {
        "selected"
    } else {
        "all"
    };
    Ok(Reply::json(
        201,
        json!({
            "token": text,
            "expires_at": time(expires_at),
            "permissions": app.permissions,
            "repository_selection": selection,
        }),
    ))
}

fn installation_repositories(call: &mut Call<'_>) -> Answer {
    let Principal::Installation { .. } = call.principal else {
        return Err(Reply::not_found());
    };
    let repos = call.world.repos.values();
    let permission = |repo| permission_in(call.world, call.principal, &call.token, repo);
    let mine = repos.filter(|repo| permission(repo) > Permission::Read);
    Ok(call.wrapped_list("repositories", mine.collect(), |repo| {
        call.world.repo_json(repo, permission(repo))
    }))
}

/// The server fills in the numbers: it keeps the budgets.
#[expect(clippy::unnecessary_wraps, reason = "a handler like the others")]
fn rate_limit(_call: &mut Call<'_>) -> Answer {
    Ok(Reply::ok(Value::Null))
}
