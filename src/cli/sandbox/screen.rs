//! What the sandbox shows: progress, the timeline, the last screen.

use std::{
    fmt::Display,
    io::{self, Write},
    time::Duration,
};

use crate::{
    domain::{Timestamp, event::FlowEvent},
    sandbox::{seed::REPOSITORY, timeline::Line, world::SandboxWorld},
};

/// One line to standard output. A reader that has gone away is no error of ours.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A part that is there now.
pub(super) fn ready(what: &str, took: Duration) {
    say(format_args!(
        "  ready  {what} ({:.1} s)",
        took.as_secs_f64()
    ));
}

/// A line of the timeline with its time since the label.
pub(super) fn line(line: &Line, labelled: Timestamp) {
    let since = seconds_since(line.at, labelled);
    say(format_args!(
        "  +{since:>5.1} s  {:<14} {}",
        line.what, line.detail
    ));
}

/// An event that is no step of the run that was shown.
pub(super) fn event(event: &FlowEvent, name: &str, began: Timestamp) {
    let since = seconds_since(event.created_at, began);
    let payload = &event.event.payload;
    let fields = payload.as_object().into_iter().flatten();
    let detail: Vec<_> = fields
        .filter(|(_, value)| !value.is_null() && !value.is_object() && value.as_str() != Some(""))
        .map(|(field, value)| match value.as_str() {
            Some(hash) if is_hash(hash) => format!("{field}: {}", &hash[..10]),
            Some(text) => format!("{field}: {text}"),
            None => format!("{field}: {value}"),
        })
        .collect();
    say(format_args!(
        "  +{since:>5.1} s  {name} {} ({})",
        event.event.kind,
        detail.join(", ")
    ));
}

/// Commit ids and content hashes: people need only their beginning.
fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn seconds_since(at: Timestamp, since: Timestamp) -> f64 {
    let milliseconds = i32::try_from((at - since).num_milliseconds().max(0)).unwrap_or(i32::MAX);
    f64::from(milliseconds) / 1000.0
}

/// What is running, where it is, and what to try next.
pub(super) fn last(world: &SandboxWorld, pull_request: &str) {
    let addresses = world.addresses();
    let pull = format!(
        "{REPOSITORY}#{}",
        pull_request.rsplit('/').next().unwrap_or("N")
    );
    let (api, ops) = (&addresses.api, &addresses.ops);
    let (config, log) = (world.config().path().display(), world.serve_log().display());
    let kubeconfig = world.kubeconfig().display();
    say(format_args!(
        "
The sandbox goes on until Ctrl-C. Try from another terminal:

  Ask for changes, and have the same pull request revised
    codex-k8s sandbox review {pull} --request-changes --body 'Shorter, please.'
    codex-k8s sandbox label {pull} run:dev:revise
  Start another issue, and take the label off while its agent works
    codex-k8s sandbox label {REPOSITORY}#2 run:dev
    codex-k8s sandbox unlabel {REPOSITORY}#2 run:dev
  Have someone without rights try
    codex-k8s sandbox label {REPOSITORY}#3 run:dev --as margaret
  Break the config, see that nothing changes, mend it
    codex-k8s sandbox config-break
    codex-k8s sandbox config-fix
  Kill the platform; the sandbox starts it again and it goes on where it was
    kill -9 $(cat {pid})
  Look around
    codex-k8s sandbox status
    eval \"$(codex-k8s sandbox env)\" && codex-k8s explain {REPOSITORY}#1
    curl {ops}/metrics
    curl -H 'Authorization: Bearer {token}' {api}/api/v1/runs

  config repo   {config}
  GitHub model  {github}
  kubeconfig    {kubeconfig}
  log           {log}
",
        pid = world.folder().join("serve.pid").display(),
        token = addresses.api_token,
        github = world.github().base_url(),
    ));
    if world.kubernetes().is_some() {
        say(
            "The Kubernetes here is a model: network policies, RBAC, quotas and admission are kept, \
             but not enforced. Agents run as local processes with your rights.",
        );
    }
}
