//! GraphQL at `/api/graphql`, against GitHub's official schema (pruned).
//!
//! A query is validated, priced by GitHub's formula, charged and executed. Errors have GitHub's form:
//! status 200, `errors` with a `type`. A query that the schema does not know breaks the contract.

mod connection;
mod cost;
mod issues;
mod nodes;
mod repositories;
mod root;

use std::cell::RefCell;
use std::sync::LazyLock;

use apollo_compiler::resolvers::Execution;
use apollo_compiler::response::JsonMap;
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use axum::body::Body;
use axum::http::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::api::with_common_headers;
use super::auth::authenticate;
use super::budget::Resource;
use super::exchanges::Noted;
use super::faults::Fault;
use super::lag::milliseconds;
use super::reply::Reply;
use super::server::{Asked, Shared, State, response};
use super::world::{Principal, Repo, Token, World};
use cost::Cost;

const SCHEMA: &str = include_str!("../../../../tests/fixtures/github/schema.graphql");

static SERVED: LazyLock<Valid<Schema>> = LazyLock::new(|| {
    Schema::parse_and_validate(SCHEMA, "schema.graphql")
        .expect("the pruned schema is checked in valid")
});

/// Separates an error's GitHub type from its message on the way through execution.
const TYPE_MARK: char = '\u{1}';

/// What execution puts before a resolver's message.
const RESOLVER: &str = "resolver error: ";

/// What resolvers look at: the world as one caller sees it at one moment.
struct View<'w> {
    world: &'w World,
    principal: Principal,
    token: &'w Token,
    now: DateTime<Utc>,
    cost: Cost,
    budget: super::budget::Budget,
    /// Errors of single list items, which execution would let spoil the whole list.
    errors: RefCell<Vec<Value>>,
}

impl View<'_> {
    fn readable(&self, repo: &Repo) -> bool {
        let permission = super::call::permission_in(self.world, self.principal, self.token, repo);
        permission >= super::world::Permission::Read
    }
}

pub(super) fn answer(shared: &Shared, asked: &Asked) -> Response<Body> {
    let mut state = shared.lock();
    let now = state.world.now();
    response(&with_common_headers(answered(&mut state, asked, now), now))
}

fn answered(state: &mut State, asked: &Asked, now: DateTime<Utc>) -> Reply {
    state.journal.request("POST /graphql");
    let (principal, token) = match authenticate(&state.world, asked.header("authorization")) {
        Ok(known) => known,
        Err(reply) => return reply,
    };
    if let Principal::App { .. } = principal {
        return Reply::error(403, "Resource not accessible by integration");
    }
    let name = state.owner_name(principal);
    let request = asked.json().unwrap_or_default();
    let mut problems = Vec::new();
    let body = match priced(&request) {
        Ok(query) => {
            let stale = match asked.twist {
                Some(Fault::StaleRead { by_ms }) => milliseconds(by_ms),
                _ => TimeDelta::zero(),
            };
            run(
                state,
                &query,
                (principal, &token),
                &name,
                (now, now - stale),
            )
        }
        Err(errors) => {
            problems.push(errors.to_string());
            json!({ "errors": errors })
        }
    };
    let mut reply = Reply::ok(body);
    let budget = *state.budgets.budget(&name, Resource::Graphql, now);
    reply.headers.extend([
        ("x-ratelimit-limit", budget.limit.to_string()),
        ("x-ratelimit-remaining", budget.remaining().to_string()),
        ("x-ratelimit-used", budget.used.to_string()),
        ("x-ratelimit-reset", budget.reset.timestamp().to_string()),
        ("x-ratelimit-resource", Resource::Graphql.name().to_owned()),
    ]);
    if state.exchanges.check.judge {
        state.exchanges.note(&Noted {
            operation: "POST /graphql",
            path: &asked.path,
            request: &request,
            status: reply.status,
            response: reply.body.as_ref(),
            problems,
        });
    }
    reply
}

/// A query that the schema accepts, with its variables.
struct Query {
    document: Valid<ExecutableDocument>,
    operation: Option<String>,
    variables: Valid<JsonMap>,
}

/// Parses and validates a request; the error is GitHub's list of errors.
fn priced(request: &Value) -> Result<Query, Value> {
    let text = request["query"].as_str().unwrap_or("");
    if text.is_empty() {
        return Err(
            json!([{ "message": "A query attribute must be specified and must be a string." }]),
        );
    }
    let document = ExecutableDocument::parse_and_validate(&SERVED, text, "query").map_err(|invalid| {
        let errors = invalid.errors.iter().map(|error| {
            json!({ "message": error.error.to_string(), "path": ["query"], "extensions": { "code": "undefinedField" } })
        });
        Value::Array(errors.collect())
    })?;
    let operation = request["operationName"].as_str().map(str::to_owned);
    let one = |message: String| json!([{ "message": message }]);
    let known = document.operations.get(operation.as_deref());
    let known = known.map_err(|error| one(error.message().to_string()))?;
    let given = request
        .get("variables")
        .filter(|given| !given.is_null())
        .cloned();
    let given: JsonMap = serde_json::from_value(given.unwrap_or_else(|| json!({})))
        .map_err(|error| one(format!("Variables are invalid JSON: {error}")))?;
    let variables = apollo_compiler::request::coerce_variable_values(&SERVED, known, &given)
        .map_err(|error| one(error.message().to_string()))?;
    Ok(Query {
        document,
        operation,
        variables,
    })
}

fn run(
    state: &mut State,
    query: &Query,
    (principal, token): (Principal, &Token),
    name: &str,
    (now, seen_now): (DateTime<Utc>, DateTime<Utc>),
) -> Value {
    let typed =
        |kind: &str, message: &str| json!({ "errors": [{ "type": kind, "message": message }] });
    let cost = match cost::of(query) {
        Ok(cost) => cost,
        Err((kind, message)) => return typed(kind, &message),
    };
    if state.budgets.check(name, Resource::Graphql, now).is_err() {
        return typed(
            "RATE_LIMITED",
            &format!("API rate limit already exceeded for {name}."),
        );
    }
    let budget = state.budgets.budget(name, Resource::Graphql, now);
    budget.used += cost.points;
    let budget = *budget;
    state.journal.charge("graphql", u64::from(cost.points));
    let view = View {
        world: &state.world,
        principal,
        token,
        now: seen_now,
        cost,
        budget,
        errors: RefCell::default(),
    };
    let execution =
        Execution::new(&SERVED, &query.document).coerced_variable_values(&query.variables);
    let executed = execution
        .operation_name(query.operation.as_deref())
        .and_then(|execution| execution.execute_sync(&root::Root { view: &view }));
    match executed {
        Ok(answer) => {
            let mut answer = with_github_errors(serde_json::to_value(answer).unwrap_or_default());
            let of_items = view.errors.into_inner();
            if !of_items.is_empty() {
                let mut errors = answer["errors"].as_array().cloned().unwrap_or_default();
                errors.extend(of_items);
                answer["errors"] = Value::Array(errors);
            }
            answer
        }
        Err(error) => json!({ "errors": [{ "message": error.message().to_string() }] }),
    }
}

/// Moves the error types that resolvers put before their messages to where GitHub has them.
fn with_github_errors(mut answer: Value) -> Value {
    for error in answer
        .get_mut("errors")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let message = error["message"].as_str().unwrap_or("").to_owned();
        if let Some((kind, message)) = message.trim_start_matches(RESOLVER).split_once(TYPE_MARK) {
            error["type"] = json!(kind);
            error["message"] = json!(message);
        }
    }
    answer
}
