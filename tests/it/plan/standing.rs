//! What the config asks for by the clock and by pushes, as scripts say it.

use std::sync::Arc;

use codex_k8s::{
    desired::model::{DesiredProject, ObjectName, PushTrigger},
    domain::ids::{IssueNumber, ProjectKey, StageKind, Subject},
};

use super::world::{HELLO, World, actor, sha};

impl World {
    fn project(&mut self) -> &mut DesiredProject {
        let projects = &mut Arc::make_mut(&mut self.desired).projects;
        let project = projects.get_mut(&ProjectKey::from("demo"));
        project.expect("the example has it")
    }

    /// The config asks for a stage on an issue of the first repository by the clock.
    pub(super) fn schedule(&mut self, name: &str, number: i64, stage: &str, cron: &str) {
        let schedule = serde_json::from_value(serde_json::json!({
            "repository": "hello", "issue": number, "stage": stage, "cron": cron,
        }));
        let schedules = &mut self.project().schedules;
        schedules.insert(ObjectName::from(name), schedule.expect("a schedule"));
    }

    /// The config no longer does.
    pub(super) fn drop_schedule(&mut self, name: &str) {
        self.project().schedules.remove(&ObjectName::from(name));
    }

    /// The config asks for a stage by pushes to the default branch.
    pub(super) fn on_push(&mut self, number: i64, stage: &str) {
        let hello = self
            .project()
            .repositories
            .get_mut(&ObjectName::from("hello"));
        hello.expect("the example has it").on_push = vec![PushTrigger {
            issue: IssueNumber(number),
            stage: StageKind::new(stage),
        }];
    }

    /// Somebody pushes to the default branch.
    pub(super) fn push_default(&mut self, number: i64) {
        self.repository_mut(HELLO).record.default_head = Some(sha(number));
    }

    /// Who opened an issue.
    pub(super) fn written_by(&mut self, subject: Subject, who: &str) {
        self.open_issue(subject);
        let issue = self.issue_mut(subject).expect("it is open");
        issue.author = Some(actor(who));
    }
}
