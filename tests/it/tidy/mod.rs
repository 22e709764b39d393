//! The rules of the house that a compiler does not hold: which room may use which,
//! what pure rooms may not touch, sizes, headers, and where SQL and the environment
//! may be. A rule is changed here and in the design, never around it.

mod rules;
mod source;

use source::{Source, project_texts, sources};

/// A rule's finding: where, and what.
type Finding = String;

/// Files that a rule leaves out, with the reason. Short on purpose.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "environment",
        "src/agent/command.rs",
        "the agent command gets no environment but what is named there",
    ),
    (
        "environment",
        "src/agent/workspace.rs",
        "git gets no environment but what is named there",
    ),
    (
        "environment",
        "src/api/git/command.rs",
        "git gets no environment but what is named there",
    ),
];

fn excepted(rule: &str, path: &str) -> bool {
    EXCEPTIONS
        .iter()
        .any(|(of, file, _)| *of == rule && *file == path)
}

#[track_caller]
fn check(rule: &str, find: impl Fn(&Source) -> Vec<Finding>) {
    let mut findings = Vec::new();
    for source in sources() {
        if !excepted(rule, &source.path) {
            let found = find(source);
            findings.extend(found.iter().map(|what| format!("{}: {what}", source.path)));
        }
    }
    assert!(findings.is_empty(), "{rule}:\n{}", findings.join("\n"));
}

#[test]
fn rooms_use_only_the_rooms_below_them() {
    check("arrows", rules::arrows);
}

#[test]
fn pure_rooms_touch_no_world() {
    check("purity", rules::purity);
}

#[test]
fn only_settings_and_command_line_read_the_environment() {
    check("environment", rules::environment);
}

#[test]
fn sql_stays_in_the_store() {
    check("sql", rules::sql);
}

#[test]
fn files_and_functions_keep_their_size() {
    check("size", rules::size);
}

#[test]
fn every_file_says_what_it_is() {
    check("header", rules::header);
}

#[test]
fn nothing_is_left_undone_or_ignored_without_a_reason() {
    check("undone", rules::undone);
}

#[test]
fn exceptions_are_of_files_that_need_them() {
    let all = sources();
    for (rule, file, reason) in EXCEPTIONS {
        let Some(source) = all.iter().find(|source| source.path == *file) else {
            panic!("{file} is excepted from `{rule}` ({reason}) and does not exist");
        };
        let found = match *rule {
            "environment" => rules::environment(source),
            "arrows" => rules::arrows(source),
            "sql" => rules::sql(source),
            "purity" => rules::purity(source),
            _ => panic!("`{rule}` takes no exceptions"),
        };
        assert!(
            !found.is_empty(),
            "{file} keeps `{rule}` without its exception"
        );
    }
}

#[test]
fn no_file_names_a_place_on_a_machine_of_ours() {
    let places = ["wt", "main", "shared"]
        .map(|folder| format!("/work/{folder}/"))
        .into_iter()
        .chain([["", "root", ""].join("/")])
        .collect::<Vec<_>>();
    let mut findings = Vec::new();
    for (path, text) in project_texts() {
        for (index, line) in text.lines().enumerate() {
            for place in places.iter().filter(|place| line.contains(place.as_str())) {
                findings.push(format!("{path}:{}: names {place}", index + 1));
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// The rules themselves, on sources that break them.
mod on_purpose {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::parse(path, text)
    }

    #[test]
    fn a_planner_that_asks_the_world_is_found() {
        for text in [
            "use tokio::time;",
            "use std::collections::{BTreeMap, HashMap};",
            "fn f() { let now = chrono::Utc::now(); }",
            "fn f() { let id = uuid::Uuid::new_v4(); }",
            "use std::time::Instant;",
            "fn f() { tracing::info!(\"{:?}\", std::env::var(\"X\")); }",
        ] {
            assert!(
                !rules::purity(&source("src/plan/x.rs", text)).is_empty(),
                "{text}"
            );
            assert!(rules::purity(&source("src/reconcile/x.rs", text)).is_empty());
        }
        let fine = "use std::time::Duration; use chrono::Utc; #[cfg(test)] mod t { use tokio::x; }";
        assert!(rules::purity(&source("src/plan/x.rs", fine)).is_empty());
    }

    #[test]
    fn an_arrow_that_points_up_is_found_however_it_is_written() {
        for text in [
            "use crate::apply::Applier;",
            "use crate::{domain::ids::RunId, store::Store};",
            "use super::super::reconcile::Pass;",
            "fn f() { crate::forge::call(); }",
            "use crate::desired::load::load;",
        ] {
            assert!(
                !rules::arrows(&source("src/plan/x.rs", text)).is_empty(),
                "{text}"
            );
        }
        for text in [
            "use crate::domain::ids::RunId; use super::action::Action;",
            "use crate::{desired::model::Desired, cluster::manifests};",
            "#[cfg(test)] mod tests { use crate::store::Store; }",
        ] {
            assert_eq!(
                rules::arrows(&source("src/plan/x.rs", text)),
                Vec::<String>::new()
            );
        }
    }

    #[test]
    fn sql_the_environment_and_things_undone_are_found() {
        let sql = source("src/api/x.rs", "const Q: &str = \"SELECT id FROM runs\";");
        assert!(!rules::sql(&sql).is_empty());
        let environment = source("src/api/x.rs", "fn f() { std::env::var(\"X\"); }");
        assert!(!rules::environment(&environment).is_empty());
        for text in [
            "fn f() { todo!() }",
            "#[test] #[ignore] fn f() {}",
            "fn f() { dbg!(1); }",
        ] {
            assert!(
                !rules::undone(&source("src/api/x.rs", text)).is_empty(),
                "{text}"
            );
        }
        let reason = source("src/api/x.rs", "#[test] #[ignore = \"slow\"] fn f() {}");
        assert!(rules::undone(&reason).is_empty());
    }

    #[test]
    fn long_files_long_functions_and_missing_headers_are_found() {
        let long = format!("//! x\n{}", "// line\n".repeat(500));
        assert!(!rules::size(&source("src/api/x.rs", &long)).is_empty());
        let tested = format!(
            "//! x\n#[cfg(test)]\nmod tests {{\n{}}}\n",
            "// line\n".repeat(500)
        );
        assert!(rules::size(&source("src/api/x.rs", &tested)).is_empty());
        let function = format!("fn f() {{\n{}}}\n", "    f();\n".repeat(101));
        assert!(!rules::size(&source("src/api/x.rs", &function)).is_empty());
        assert!(!rules::header(&source("src/api/x.rs", "fn f() {}")).is_empty());
    }
}
