//! REST under `/api/v3`: from a request to GitHub's answer with GitHub's headers.
//!
//! Order as on GitHub: credential, limits, route, repository (redirects), rights, handler; then the
//! entity tag, whose match makes a 304 that is not charged.

use axum::body::Body;
use axum::http::Response;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use super::auth::authenticate;
use super::budget::Resource;
use super::call::{Call, Need, Route, check_repo};
use super::contract::{self, Exchange};
use super::exchanges::Noted;
use super::faults::Fault;
use super::journal::Write;
use super::lag::milliseconds;
use super::reply::{Answer, Reply};
use super::rest;
use super::server::{Asked, Shared, State, response, segments};
use super::world::{Principal, Token};

/// A request whose credential is known.
struct Caller {
    principal: Principal,
    token: Token,
    name: String,
}

pub(super) fn answer(shared: &Shared, asked: &Asked) -> Response<Body> {
    let reply = {
        let mut state = shared.lock();
        answered(&mut state, asked)
    };
    response(&reply)
}

fn answered(state: &mut State, asked: &Asked) -> Reply {
    let reply = unjudged(state, asked);
    judge(state, asked, &reply);
    reply
}

fn unjudged(state: &mut State, asked: &Asked) -> Reply {
    let now = state.world.now();
    let caller = match authenticate(&state.world, asked.header("authorization")) {
        Ok((principal, token)) => {
            let name = state.owner_name(principal);
            Caller {
                principal,
                token,
                name,
            }
        }
        Err(reply) => return with_common_headers(reply, now),
    };
    let free = asked.path == "/api/v3/rate_limit";
    let allowed = if free {
        Ok(())
    } else {
        state.budgets.check(&caller.name, Resource::Core, now)
    };
    if let Some(Fault::StaleRead { by_ms }) = asked.twist {
        state.world.stale_by = milliseconds(by_ms);
    }
    let answer = allowed.and_then(|()| routed(state, asked, &caller));
    state.world.stale_by = TimeDelta::zero();
    let (Ok(mut reply) | Err(mut reply)) = answer;
    reply = tagged(reply, asked);
    if reply.status != 304 && !free {
        state.budgets.budget(&caller.name, Resource::Core, now).used += 1;
        state.journal.charge("core", 1);
    }
    with_common_headers(with_budget_headers(reply, state, &caller.name, now), now)
}

/// The path below the API's root; `/repositories/{id}/…` is rewritten to the repository's name.
fn path_of(state: &State, asked: &Asked) -> Vec<String> {
    let mut path = segments(asked.path.trim_start_matches("/api/v3"));
    if path.first().is_some_and(|first| first == "repositories") && path.len() > 1 {
        let id = path.get(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        let repo = state.world.repos.get(&id);
        // A repository that is gone has a name nobody can have.
        let (owner, name) = repo.map_or(("-".to_owned(), "-".to_owned()), |repo| {
            (
                state.world.user_or_ghost(repo.owner).login,
                repo.name.clone(),
            )
        });
        path.splice(0..2, ["repos".to_owned(), owner, name]);
    }
    path
}

/// The operation of a request, as counters and fault rules name it.
pub(super) fn operation(state: &State, asked: &Asked) -> String {
    let found = rest::find(&asked.method, &path_of(state, asked));
    found.map_or_else(
        || format!("{} {}", asked.method, asked.path),
        |(route, _)| format!("{} {}", route.method, route.path),
    )
}

/// Judges an exchange by GitHub's description and notes it.
pub(super) fn judge(state: &mut State, asked: &Asked, reply: &Reply) {
    if !state.exchanges.check.judge {
        return;
    }
    let path = path_of(state, asked);
    let (query, body) = (asked.query(), asked.json().unwrap_or_default());
    let Some((route, params)) = rest::find(&asked.method, &path) else {
        let operation = format!("{} {}", asked.method, asked.path);
        let problems = vec!["operation is not served".to_owned()];
        let status = reply.status;
        let response = reply.body.as_ref();
        let path = &asked.path;
        state.exchanges.note(&Noted {
            operation: &operation,
            path,
            request: &body,
            status,
            response,
            problems,
        });
        return;
    };
    let exchange = Exchange {
        method: route.method,
        path: route.path,
        params: &params,
        query: &query,
        body: &body,
    };
    let mut problems = contract::request_problems(&exchange);
    problems.extend(contract::response_problems(
        &exchange,
        reply.status,
        reply.body.as_ref(),
    ));
    state.exchanges.note(&Noted {
        operation: &format!("{} {}", route.method, route.path),
        path: &asked.path,
        request: &body,
        status: reply.status,
        response: reply.body.as_ref(),
        problems,
    });
}

fn routed(state: &mut State, asked: &Asked, caller: &Caller) -> Answer {
    let path = path_of(state, asked);
    let Some((route, params)) = rest::find(&asked.method, &path) else {
        let status = if rest::known_path(&path) { 405 } else { 404 };
        state.journal.request("unknown");
        return Err(Reply::error(status, "Not Found"));
    };
    state
        .journal
        .request(&format!("{} {}", route.method, route.path));
    let redirect = |id: u64| {
        let below = path
            .get(3..)
            .unwrap_or_default()
            .iter()
            .map(|part| format!("/{part}"));
        let query = if asked.raw_query.is_empty() {
            String::new()
        } else {
            format!("?{}", asked.raw_query)
        };
        format!(
            "{}/api/v3/repositories/{id}{}{query}",
            state.world.base,
            below.collect::<String>()
        )
    };
    let repo = repo_of(state, route, &params, redirect)?;
    let body = asked.json()?;
    if route.path == "/rate_limit" {
        return Ok(Reply::ok(
            state.budgets.overview(&caller.name, state.world.now()),
        ));
    }
    let url = format!("{}{}", state.world.base, asked.path);
    let mut call = Call {
        world: &mut state.world,
        principal: caller.principal,
        token: caller.token.clone(),
        params,
        query: asked.query(),
        body,
        repo,
        url,
        repeats_page: asked.twist == Some(Fault::RepeatedPage),
    };
    check(&call, route)?;
    if route.writes() {
        state.budgets.write(&caller.name, call.world.now())?;
    }
    let answer = (route.run)(&mut call);
    if route.writes() {
        note_write(state, asked, caller, &path, &answer);
    }
    answer
}

fn repo_of(
    state: &State,
    route: &Route,
    params: &std::collections::BTreeMap<&'static str, String>,
    redirect: impl Fn(u64) -> String,
) -> Result<u64, Reply> {
    if !matches!(route.need, Need::Repo(..)) {
        return Ok(0);
    }
    let part = |name: &str| params.get(name).map_or("", String::as_str);
    let name = format!("{}/{}", part("owner"), part("repo"));
    if let Some(repo) = state.world.repo_named(&name) {
        return Ok(repo.id);
    }
    let former = state.world.repo_formerly(&name);
    Err(former.map_or_else(Reply::not_found, |repo| Reply::moved(&redirect(repo.id))))
}

fn check(call: &Call<'_>, route: &Route) -> Result<(), Reply> {
    match (route.need, call.principal) {
        (Need::App, Principal::App { .. })
        | (Need::Installation, Principal::Installation { .. }) => Ok(()),
        (Need::App, _) => Err(Reply::error(401, "A JSON web token could not be decoded")),
        (_, Principal::App { .. }) => {
            let message = "You must authenticate with an installation access token in order to access this endpoint.";
            Err(Reply::error(403, message))
        }
        (Need::Installation, _) => {
            let message = "You must authenticate with an installation access token in order to list repositories for an installation.";
            Err(Reply::error(403, message))
        }
        (Need::Anyone, _) => Ok(()),
        (Need::Repo(scope, access, role), _) => check_repo(call, scope, access, role),
    }
}

fn note_write(state: &mut State, asked: &Asked, caller: &Caller, path: &[String], answer: &Answer) {
    let (Ok(reply) | Err(reply)) = answer;
    if reply.status < 300 {
        state.journal.write(Write {
            at: state.world.now(),
            actor: caller.name.clone(),
            method: asked.method.clone(),
            path: format!("/{}", path.join("/")),
            status: reply.status,
        });
    }
}

/// Adds the entity tag and turns a match into a 304.
fn tagged(mut reply: Reply, asked: &Asked) -> Reply {
    if asked.method != "GET" || reply.status != 200 {
        return reply;
    }
    let Some(body) = &reply.body else {
        return reply;
    };
    let link = reply.header("link").unwrap_or("");
    let digest = Sha256::new()
        .chain_update(body.to_string())
        .chain_update(link)
        .chain_update(asked.header("authorization").unwrap_or(""))
        .finalize();
    let mut tag = format!("W/\"{}\"", hex::encode(digest));
    let known = asked.header("if-none-match").unwrap_or("");
    let bare = tag.trim_start_matches("W/").to_owned();
    let told_so = asked.twist == Some(Fault::NotModified) && !known.is_empty();
    if told_so {
        known.clone_into(&mut tag);
    }
    if told_so
        || known
            .split(',')
            .any(|one| one.trim().trim_start_matches("W/") == bare)
    {
        reply = Reply {
            status: 304,
            headers: Vec::new(),
            body: None,
        };
    }
    reply.headers.push(("etag", tag));
    reply.headers.push((
        "cache-control",
        "private, max-age=60, s-maxage=60".to_owned(),
    ));
    reply
}

fn with_budget_headers(
    mut reply: Reply,
    state: &mut State,
    name: &str,
    now: DateTime<Utc>,
) -> Reply {
    let budget = state.budgets.budget(name, Resource::Core, now);
    reply.headers.extend([
        ("x-ratelimit-limit", budget.limit.to_string()),
        ("x-ratelimit-remaining", budget.remaining().to_string()),
        ("x-ratelimit-used", budget.used.to_string()),
        ("x-ratelimit-reset", budget.reset.timestamp().to_string()),
        ("x-ratelimit-resource", Resource::Core.name().to_owned()),
    ]);
    reply
}

/// Headers of every answer; the date is the model's.
pub(super) fn with_common_headers(mut reply: Reply, now: DateTime<Utc>) -> Reply {
    reply
        .headers
        .push(("date", now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()));
    reply
        .headers
        .push(("x-github-media-type", "github.v3; format=json".to_owned()));
    reply
}
