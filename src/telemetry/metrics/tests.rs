//! What `/metrics` looks like once everything has happened.

use std::{collections::BTreeSet, time::Duration};

use strum::IntoEnumIterator as _;

use super::*;
use crate::domain::run::RunState;

/// Touches every metric, so that all of them are in the text.
fn lively() -> String {
    let metrics = Metrics::new().unwrap();
    let second = Duration::from_secs(1);
    PassResult::iter().for_each(|result| metrics.pass.ended(result, second));
    metrics.pass.planned("start_run", 2);
    metrics.pass.reported("waiting", 3);
    metrics.pass.check_failed("one_run_per_slot");
    metrics.apply.applied("start_run", "done");
    WriteTarget::iter().for_each(|target| metrics.apply.wrote(target));
    metrics.apply.set_retrying(4);
    metrics.runs.set_runs(RunState::Running, 5);
    metrics.runs.set_slots(1, 6);
    metrics.runs.launched(second);
    metrics.runs.job_made(second);
    metrics.forge.set_requests("detect", "ok", 1);
    metrics.forge.set_budget("writer", "graphql", 4990.0);
    metrics.forge.set_points("detect", 14);
    metrics.forge.set_predicted("writer", "graphql", 1680.0);
    metrics.forge.set_period(std::time::Duration::from_secs(30));
    for source in Source::iter() {
        metrics.observed.set_age(source, second);
        metrics.observed.set_unknown(source, 0);
    }
    Load::iter().for_each(|load| metrics.desired.loaded(load, 0));
    metrics.desired.set_revision(7);
    metrics.store.set_lease(true, 8);
    metrics.store.lease_lost();
    metrics.store.set_clock_skew(0.5);
    metrics.text().unwrap()
}

#[test]
fn every_metric_has_our_prefix_and_a_help_text() {
    let text = lively();
    let samples: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    assert!(samples.len() > 15, "{text}");
    for sample in samples {
        assert!(sample.starts_with("codexk8s_"), "{sample}");
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| sample.strip_suffix(suffix))
            .unwrap_or(sample);
        assert!(text.contains(&format!("# HELP {family} ")), "{family}");
    }
}

#[test]
fn no_label_grows_with_issues_runs_or_people() {
    let text = lively();
    let labels: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once('{')?.1.split_once('}')?.0))
        .flat_map(|labels| labels.split(','))
        .filter_map(|label| Some(label.split_once('=')?.0))
        .collect();
    let known = [
        "credential",
        "kind",
        "le",
        "outcome",
        "purpose",
        "resource",
        "result",
        "rule",
        "source",
        "state",
        "target",
    ];
    assert_eq!(labels, BTreeSet::from(known));
}

#[test]
fn what_was_counted_is_in_the_text() {
    let text = lively();
    for line in [
        "codexk8s_actions_total{kind=\"start_run\",outcome=\"done\"} 1",
        "codexk8s_runs{state=\"running\"} 5",
        "codexk8s_runs{state=\"pending\"} 0",
        "codexk8s_slots{kind=\"used\"} 1",
        "codexk8s_config_revision 7",
        "codexk8s_effects_retrying 4",
        "codexk8s_writes_total{target=\"forge\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} not in {text}"
        );
    }
}
