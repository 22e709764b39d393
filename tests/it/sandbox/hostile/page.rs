//! The table of the page on security: what is tried, and what refuses it.

use std::fmt::Write as _;

use super::{all, attack::Attack};

/// A row for each kind of attack.
pub(crate) fn table() -> String {
    let attacks = all();
    let mut text = String::from(
        "\n| an agent tries to | attempts | refused by | found afterwards in |\n|---|---|---|---|\n",
    );
    let mut kinds: Vec<&Attack> = Vec::new();
    for attack in &attacks {
        if !kinds.iter().any(|one| std::ptr::eq(one.kind, attack.kind)) {
            kinds.push(attack);
        }
    }
    for first in kinds {
        let of_kind = attacks
            .iter()
            .filter(|one| std::ptr::eq(one.kind, first.kind));
        let names: Vec<&str> = of_kind.map(Attack::name).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            first.kind.what,
            told(&names),
            first.kind.guard,
            first.kind.audit.words(),
        );
    }
    text.push('\n');
    text
}

/// The attempts in one cell: what is tried with every kind of workload is said once.
fn told(names: &[&str]) -> String {
    let mut words: Vec<String> = Vec::new();
    for name in names {
        let word = match (name.split_once(" with "), name.split_once(" at ")) {
            (Some((_, what)), _) => what.to_owned(),
            (_, Some((right, path))) => format!("{right}{}", place(path)),
            _ => (*name).to_owned(),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    format!("{}: {}", names.len(), words.join("; "))
}

/// Whose the path is.
fn place(path: &str) -> &'static str {
    let places = [
        ("{{other_namespace}}", " of another run"),
        ("/codex-k8s/", " of the platform"),
        ("/kube-system/", " in `kube-system`"),
        ("/default/", " in `default`"),
        ("{{namespace}}", ""),
    ];
    let found = places.iter().find(|(part, _)| path.contains(part));
    found.map_or(" of the cluster", |(_, whose)| whose)
}
