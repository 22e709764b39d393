//! Issue events: repository-wide and per issue.

use super::super::call::{Access, Call, Need, Route, Scope};
use super::super::reply::{Answer, Reply};
use super::super::world::{Event, Issue, Permission, Repo};
use super::issues::{newest_first, present};

const READ: Need = Need::Repo(Scope::Issues, Access::Read, Permission::Read);

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/issues/events",
        need: READ,
        run: list,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/issues/events/{event_id}",
        need: READ,
        run: get,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/issues/{issue_number}/events",
        need: READ,
        run: list_of_issue,
    },
];

/// The issue an event is shown with: as readers see it, or as it is while its creation lags.
fn issue_of<'r>(call: &Call<'_>, repo: &'r Repo, event: &Event) -> Option<&'r Issue> {
    let versions = repo.issues.get(&event.number)?;
    Some(
        versions
            .seen(call.world.seen_now())
            .unwrap_or_else(|| versions.current()),
    )
}

fn list(call: &mut Call<'_>) -> Answer {
    let now = call.world.seen_now();
    let repo = call.repo()?;
    let mut events: Vec<&Event> = repo
        .events
        .iter()
        .filter(|event| event.seen_at <= now)
        .collect();
    newest_first(&mut events, |event| event.id);
    Ok(call.list(events, |event| {
        call.world
            .event_json(repo, event, issue_of(call, repo, event))
    }))
}

fn get(call: &mut Call<'_>) -> Answer {
    let (id, now) = (call.number("event_id")?, call.world.seen_now());
    let repo = call.repo()?;
    let event = repo
        .events
        .iter()
        .find(|event| event.id == id && event.seen_at <= now);
    let event = event.ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(call.world.event_json(
        repo,
        event,
        issue_of(call, repo, event),
    )))
}

/// Per issue the oldest comes first, and the issue itself is left out.
fn list_of_issue(call: &mut Call<'_>) -> Answer {
    let (number, now) = (present(call)?, call.world.seen_now());
    let repo = call.repo()?;
    let events = repo
        .events
        .iter()
        .filter(|event| event.number == number && event.seen_at <= now);
    Ok(call.list(events.collect(), |event| {
        call.world.event_json(repo, event, None)
    }))
}
