//! Names of objects: valid for Kubernetes whatever goes in.

use uuid::Uuid;

/// The longest name of a namespace, and the longest label value.
const MAX_LABEL: usize = 63;

/// The name of a run's namespace:
/// `<prefix>-<project12>-i<issue>-r<run12>`, at most 63 characters.
///
/// The prefix is what gives way when the rest needs the room; the run's part
/// is always whole, so that two runs never share a name.
pub fn namespace_name(prefix: &str, project: &str, issue: u64, run: Uuid) -> String {
    let tail = format!("i{issue}-r{}", run_short(run));
    let project = clipped(&dns_fragment(project), 12);
    let room = MAX_LABEL - tail.len() - project.len() - 2;
    let prefix = clipped(&dns_fragment(prefix), room);
    [prefix, project, tail]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// The name of an attempt's Job and Secret.
pub fn attempt_name(run: Uuid, attempt: u32) -> String {
    format!("agent-{}-{attempt}", run_short(run))
}

/// The name of the binding of a `ClusterRole`: another role is another binding,
/// because a binding's role cannot be changed in place.
pub fn binding_name(role: &str) -> String {
    format!(
        "agent-{}",
        clipped(&dns_fragment(role), MAX_LABEL - "agent-".len())
    )
}

/// A text as a label value: what does not fit becomes `-`.
pub fn label_value(text: &str) -> String {
    let kept: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .take(MAX_LABEL)
        .collect();
    kept.trim_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned()
}

/// Whether a text is a DNS label: what a namespace may be called.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty()
        && text.len() <= MAX_LABEL
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The first twelve hex digits of a run's id.
fn run_short(run: Uuid) -> String {
    let mut text = run.simple().to_string();
    text.truncate(12);
    text
}

/// Lower case; runs of anything that is not a letter or digit become one `-`.
fn dns_fragment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_end_matches('-').to_owned()
}

/// At most `longest` characters, not ending in `-`.
fn clipped(text: &str, longest: usize) -> String {
    text.chars()
        .take(longest)
        .collect::<String>()
        .trim_end_matches('-')
        .to_owned()
}
