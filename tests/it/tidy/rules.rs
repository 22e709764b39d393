//! One function a rule: what a source does that it must not.

use super::{Finding, source::Source};

/// The most production lines of a file.
const MAX_FILE_LINES: usize = 500;

/// The most lines of a function.
const MAX_FUNCTION_LINES: usize = 100;

/// Rooms and folders that are pure.
const PURE: &[&str] = &[
    "src/domain/",
    "src/desired/model/",
    "src/observed/model/",
    "src/plan/",
    "src/cluster/manifests/",
    "src/cluster/kind.rs",
    "src/cluster/labels.rs",
    "src/cluster/snapshot.rs",
    "src/prompts/render",
];

/// What pure code may not name: crates that reach the world, clocks, chance, environment,
/// and collections whose order is chance.
const IMPURE: &[&str] = &[
    "axum",
    "git2",
    "kube",
    "notify",
    "octocrab",
    "rand",
    "reqwest",
    "rustix",
    "sqlx",
    "tempfile",
    "tokio",
    "std::env",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "Utc::now",
    "Local::now",
    "Uuid::new_v4",
    "HashMap",
    "HashSet",
];

/// The pure data types of the cluster room: what rows and references look like.
const CLUSTER_DATA: [&str; 7] = [
    "cluster::kind",
    "cluster::labels",
    "cluster::snapshot",
    "cluster::DeleteTarget",
    "cluster::ObjectKind",
    "cluster::ObjectRef",
    "cluster::Propagation",
];

/// What a room may use beside itself and the vocabulary (the table of rooms in the design).
/// A pure folder is a room of its own. `None`: everything.
fn allowed(room: &str) -> Option<Vec<&'static str>> {
    let fixed: &[&str] = match room {
        "cli" => return None,
        "cluster::manifests" | "observed::model" => return Some(CLUSTER_DATA.to_vec()),
        "plan" => {
            let pure = [
                "desired::model",
                "observed::model",
                "cluster::manifests",
                "prompts::render",
            ];
            return Some(pure.into_iter().chain(CLUSTER_DATA).collect());
        }
        // A template is rendered once before it is taken.
        "desired" => &["git", "prompts::render"],
        "observed" => &["cluster", "forge", "store"],
        "apply" => &["plan", "cluster", "forge", "git", "store"],
        "reconcile" => &[
            "desired",
            "observed",
            "plan",
            "apply",
            "cluster",
            "forge",
            "store",
            "settings",
            "telemetry",
        ],
        "api" => &["forge", "git", "store"],
        "telemetry" => &["settings"],
        // It prepares the database and the config that `serve` then finds.
        "sandbox" => &["settings", "store", "desired"],
        _ => &[],
    };
    Some(fixed.to_vec())
}

/// Names of other rooms that this one may not use.
pub(super) fn arrows(source: &Source) -> Vec<Finding> {
    let Some(room) = source.room() else {
        return Vec::new();
    };
    let room = pure_folder(&source.path).unwrap_or_else(|| room.to_owned());
    let Some(allowed) = allowed(&room) else {
        return Vec::new();
    };
    let named = source.names.iter().filter_map(|name| {
        let (first, rest) = name.split_first()?;
        (first == "crate" && !rest.is_empty()).then(|| rest.join("::"))
    });
    let mut found: Vec<_> = named
        .filter(|path| {
            let below = |of: &str| path == of || path.starts_with(&format!("{of}::"));
            !(below(&room) || below("domain") || allowed.iter().any(|of| below(of)))
        })
        .map(|path| format!("{room} may not use crate::{path}"))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// A pure folder inside a room that is not pure as a whole, as a room of its own.
fn pure_folder(path: &str) -> Option<String> {
    [
        "desired/model",
        "observed/model",
        "cluster/manifests",
        "prompts/render",
    ]
    .into_iter()
    .find(|folder| {
        path.strip_prefix("src/")
            .and_then(|path| path.strip_prefix(folder))
            .is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    })
    .map(|folder| folder.replace('/', "::"))
}

/// What a pure file names of the world.
pub(super) fn purity(source: &Source) -> Vec<Finding> {
    if !PURE.iter().any(|folder| source.path.starts_with(folder)) {
        return Vec::new();
    }
    let mut found: Vec<_> = named(source)
        .into_iter()
        .filter_map(|name| {
            let of = IMPURE.iter().find(|of| is_or_below(&name, of))?;
            Some(format!("names {name} ({of}) and must be pure"))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// All names of production code as text, those inside macros too.
fn named(source: &Source) -> Vec<String> {
    let in_macros = source.macro_texts.iter().flat_map(|text| {
        text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
    });
    source
        .names
        .iter()
        .map(|name| name.join("::"))
        .chain(in_macros)
        .collect()
}

/// Whether a name is this crate or item, wherever a crate-less form of it stands.
fn is_or_below(name: &str, of: &str) -> bool {
    let is_item = of.starts_with(char::is_uppercase);
    let starts = name == of || name.starts_with(&format!("{of}::"));
    starts || is_item && (name.ends_with(&format!("::{of}")) || name.contains(&format!("::{of}::")))
}

/// Where the process environment is read outside its two rooms. The sandbox is no part of
/// the platform: it starts programs of the machine it is on.
pub(super) fn environment(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("src/")
        || matches!(source.room(), Some("settings" | "cli" | "sandbox"))
    {
        return Vec::new();
    }
    named(source)
        .into_iter()
        .filter(|name| {
            ["std::env::var", "std::env::set_var", "env::var"]
                .iter()
                .any(|of| name.starts_with(of))
        })
        .map(|name| format!("reads the environment: {name}"))
        .collect()
}

/// SQL, or the crate that speaks it, outside the store.
pub(super) fn sql(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("src/") || source.room() == Some("store") {
        return Vec::new();
    }
    let statements = source.literals.iter().filter(|literal| {
        let text = literal.trim_start();
        ["SELECT ", "INSERT INTO ", "DELETE FROM ", "CREATE TABLE "]
            .iter()
            .any(|verb| text.starts_with(verb))
            || text.starts_with("UPDATE ") && text.contains(" SET ")
    });
    let crates = source
        .names
        .iter()
        .filter(|name| name.first().is_some_and(|first| first == "sqlx"));
    statements
        .map(|text| format!("holds SQL: {text}"))
        .chain(crates.map(|name| format!("names {}", name.join("::"))))
        .collect()
}

/// Files and functions that are too long.
pub(super) fn size(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("src/") || source.path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let lines: Vec<&str> = source.text.lines().collect();
    let production = lines
        .windows(2)
        .position(|pair| {
            pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        })
        .unwrap_or(lines.len());
    let mut found = Vec::new();
    if production > MAX_FILE_LINES {
        found.push(format!(
            "has {production} lines, more than {MAX_FILE_LINES}"
        ));
    }
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let has_body = lines[index..]
            .iter()
            .find(|line| line.ends_with(['{', ';']))
            .is_some_and(|line| line.ends_with('{'));
        if !has_body {
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let length = lines[index..].iter().position(|line| *line == end);
        if let Some(length) = length.filter(|length| *length > MAX_FUNCTION_LINES) {
            found.push(format!(
                "fn {name} has {length} lines, more than {MAX_FUNCTION_LINES}"
            ));
        }
    }
    found
}

/// The name of the function that a line of formatted code begins, if it has a body.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.trim_start().split(' ').skip_while(|word| {
        word.starts_with("pub") || matches!(*word, "async" | "const" | "unsafe" | "extern")
    });
    if words.next()? != "fn" || line.ends_with('}') {
        return None;
    }
    words.next()?.split(['(', '<']).next()
}

/// Files that do not begin with what they are.
pub(super) fn header(source: &Source) -> Vec<Finding> {
    if source.text.starts_with("//!") {
        return Vec::new();
    }
    vec!["does not begin with `//!`".to_owned()]
}

/// Things left undone, and tests that are ignored without a reason.
pub(super) fn undone(source: &Source) -> Vec<Finding> {
    let undone = source
        .macros
        .iter()
        .filter(|name| matches!(name.as_str(), "todo" | "dbg" | "unimplemented"))
        .map(|name| format!("calls {name}!"));
    let ignored = (0..source.ignored).map(|_| "ignores a test without a reason".to_owned());
    undone.chain(ignored).collect()
}
