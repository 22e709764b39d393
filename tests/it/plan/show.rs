//! The world as text, for scripts and for failures: runs by issue instead of by UUID.

use std::fmt::Write as _;

use codex_k8s::plan::{Action, ActionKind, Plan, Scope};

use super::world::{World, project};

impl World {
    /// A text with run ids replaced by `run-<issue>.<n>`, n in the order of their making.
    pub(super) fn readable(&self, text: &str) -> String {
        let mut runs: Vec<_> = self.rows.runs.iter().collect();
        runs.sort_by_key(|run| (run.work_subject(), run.created_at, run.trigger.clone()));
        let mut text = text.to_owned();
        let mut last = None;
        let mut count = 0;
        for run in runs {
            count = if last == Some(run.work_subject()) {
                count + 1
            } else {
                1
            };
            last = Some(run.work_subject());
            let name = format!("{}.{count}", run.work_item);
            text = text.replace(&run.id.to_string(), &name);
            text = text.replace(&run.id.short(), &name);
        }
        for row in &self.rows.approvals {
            let name = format!("{}/{}", row.number, row.target);
            text = text.replace(&row.id.to_string(), &name);
        }
        text
    }

    /// A plan's actions, one a line.
    pub(super) fn actions(&self, plan: &Plan) -> String {
        let lines = plan
            .actions
            .iter()
            .fold(String::new(), |mut lines, action| {
                let detail = detail(action);
                let _ = writeln!(
                    lines,
                    "  {:<8}{:<22}{}{detail}",
                    action.phase(),
                    action.kind.name().to_string(),
                    action.key
                );
                lines
            });
        self.readable(&lines)
    }

    /// One part of the world.
    #[expect(
        clippy::too_many_lines,
        reason = "one part of the world after the other"
    )]
    pub(super) fn show(&self, what: &str) -> String {
        let mut out = String::new();
        match what {
            "runs" => self.show_runs(&mut out),
            "undone" => {
                for effect in self.rows.effects.iter().filter(|row| row.done_at.is_none()) {
                    let _ = writeln!(out, "  {}", effect.key);
                }
            }
            "triggers" => {
                for row in &self.rows.triggers {
                    let disposition = serde_json::to_string(&row.disposition).expect("plain data");
                    let settled = if row.settled { ", settled" } else { "" };
                    let _ = writeln!(
                        out,
                        "  {} #{} {}: {disposition}{settled}",
                        row.identity, row.number, row.kind
                    );
                }
            }
            "report" => {
                for line in [project(), Scope::Orphans]
                    .iter()
                    .flat_map(|scope| self.plan(scope.clone()).report)
                {
                    let _ = writeln!(
                        out,
                        "  {:<10}{}: {}",
                        line.state.to_string(),
                        line.candidate,
                        line.reason
                    );
                }
            }
            "actions" => {
                for scope in [project(), Scope::Orphans] {
                    out.push_str(&self.actions(&self.plan(scope)));
                }
            }
            "labels" => {
                for issue in &self.rows.issues {
                    let labels: Vec<_> = issue
                        .labels
                        .iter()
                        .map(codex_k8s::domain::ids::LabelName::as_str)
                        .collect();
                    let _ = writeln!(
                        out,
                        "  #{} {:?}: {}",
                        issue.number,
                        issue.state,
                        labels.join(" ")
                    );
                }
            }
            "approvals" => {
                for row in &self.rows.approvals {
                    let by = row.decision.as_ref().map(|decision| {
                        let actor = decision.actor.as_ref();
                        let login = actor.map_or("nobody", |actor| actor.login.as_str());
                        let via = serde_json::to_value(&decision.via).expect("plain data");
                        let via = via["via"].as_str().unwrap_or_default();
                        format!(", {} by {login} ({via})", decision.verdict)
                    });
                    let _ = writeln!(
                        out,
                        "  #{} {} {} {}: {}{}{}{}",
                        row.number,
                        row.target,
                        row.code.as_deref().unwrap_or("-"),
                        row.mode,
                        row.state,
                        by.unwrap_or_default(),
                        row.reason
                            .as_ref()
                            .map_or_else(String::new, |text| format!(" ({text})")),
                        if row.settled { ", settled" } else { "" },
                    );
                }
            }
            "newest comment" => {
                let comment = self.rows.comments.last().map(|row| row.body.as_str());
                for line in comment.unwrap_or_default().lines() {
                    let _ = writeln!(out, "  {line}");
                }
            }
            "prompt" => {
                let launched = self.rows.runs.iter().filter(|run| run.frozen.is_some());
                let newest = launched.max_by_key(|run| run.preparing_at);
                let prompt = newest.and_then(|run| run.frozen.as_ref());
                let prompt = prompt.map_or("", |frozen| &frozen.prompt);
                let lines = prompt.lines().filter(|line| !line.trim().is_empty());
                for line in lines.take(4) {
                    let _ = writeln!(out, "  {line}");
                }
            }
            "comments" => {
                for comment in &self.rows.comments {
                    let lines = comment.body.lines().filter(|line| !line.trim().is_empty());
                    let title = lines.clone().next().unwrap_or_default();
                    let _ = writeln!(out, "  #{}: {title}", comment.number);
                }
            }
            "events" => {
                for event in &self.recorded {
                    let _ = writeln!(out, "  {} {}", event.kind, event.correlation);
                }
            }
            "pulls" => {
                for pull in &self.rows.pulls {
                    let _ = writeln!(
                        out,
                        "  #{} {:?} {} <- {}: {}",
                        pull.number, pull.state, pull.base, pull.head, pull.title
                    );
                }
            }
            "bodies" => {
                for pull in &self.rows.pulls {
                    let shown = pull.body.lines().filter(|line| !line.trim().is_empty());
                    // Up to the facts, which name the run.
                    for line in shown.take_while(|line| !line.starts_with('|')) {
                        let _ = writeln!(out, "  #{}: {line}", pull.number);
                    }
                }
            }
            "namespaces" => {
                for row in &self.cluster.namespaces {
                    let _ = writeln!(out, "  {:?} {}", row.phase, row.name);
                }
            }
            "objects" => {
                for row in &self.cluster.objects {
                    let _ = writeln!(out, "  {} {}", row.kind, row.name);
                }
            }
            "slots" => {
                for row in &self.rows.slots {
                    let _ = writeln!(out, "  {}: {}", row.slot, row.run);
                }
            }
            other => panic!("nothing shows {other}"),
        }
        if out.is_empty() {
            out.push_str("  none\n");
        }
        self.readable(&out)
    }

    /// How a label looks in each repository.
    pub(super) fn show_label(&self, label: &str) -> String {
        let name = codex_k8s::domain::ids::LabelName::new(label);
        let rows = self.rows.labels.iter().filter(|row| row.label.name == name);
        rows.fold(String::new(), |mut out, row| {
            let (colour, description) = (&row.label.colour, &row.label.description);
            let _ = writeln!(out, "  {} {colour} {description:?}", row.repository);
            out
        })
    }

    fn show_runs(&self, out: &mut String) {
        for run in &self.rows.runs {
            let _ = write!(out, "  {} {}: {}", run.id, run.kind, run.state);
            if let Some(reason) = &run.reason {
                let _ = write!(out, " ({reason})");
            }
            if let Some(held) = &run.held {
                let _ = write!(out, " held: {held}");
            }
            if let Some(slot) = run.slot {
                let _ = write!(out, ", slot {slot}");
            }
            if let Some(branch) = &run.branch {
                let _ = write!(out, ", {branch}");
            }
            if let Some(pull) = run.pull_request {
                let _ = write!(out, ", #{pull}");
            }
            if run.finalized_at.is_some() {
                out.push_str(", finished");
            }
            out.push('\n');
        }
    }
}

/// What an action's key does not say.
fn detail(action: &Action) -> String {
    match &action.kind {
        ActionKind::DecideTrigger { to, .. } => match to {
            codex_k8s::domain::trigger::Disposition::Refused(reason) => {
                format!(" refused {}", <&str>::from(reason))
            }
            codex_k8s::domain::trigger::Disposition::MergedInto { .. } => " merged".to_owned(),
            _ => String::new(),
        },
        ActionKind::MoveRun { change, .. } => change
            .outcome
            .map(|outcome| format!(" {outcome}"))
            .unwrap_or_default(),
        ActionKind::LaunchRun { slot, branch, .. } => format!(" slot {slot} {branch}"),
        ActionKind::AddLabels { labels, .. } => {
            let labels: Vec<_> = labels
                .iter()
                .map(codex_k8s::domain::ids::LabelName::as_str)
                .collect();
            format!(" {}", labels.join(" "))
        }
        ActionKind::EnsureLabel { change: true, .. } => " put right".to_owned(),
        ActionKind::RemoveLabel { label, subject, .. } => {
            format!(" {label} from #{}", subject.number)
        }
        _ => String::new(),
    }
}
