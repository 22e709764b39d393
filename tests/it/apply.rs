//! Applying against a real store and the GitHub model: every edge of an effect, lost answers
//! among them, leads to one comment and one pull request with one event each.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use codex_k8s::{
    apply::{Applier, ApplySettings, Outcome, WriterProof},
    domain::{
        effect::EffectKey,
        event::{EventKind, FlowEvent},
        forge::Comment,
        ids::{BranchName, IssueNumber, LabelName, RunId, Subject, UserId},
        marker::{comment_marker, pull_request_marker},
        run_keys::RunKeys,
    },
    forge::{CommentFilter, Forge, NewPull, github::GithubForge},
    plan::{Action, ActionKind, CommentContent, Plan, PullRequestContent, Scope},
    sandbox::github::{Fault, FaultRule},
    store::{EffectIntent, LeaseGrant},
};

use crate::{
    forge::{REPO, Scene},
    store::fixtures::{World, binding, event},
    support::{
        no_cluster::NoCluster,
        postgres::{LEASE, acquire},
    },
};

const POST_COMMENT: &str = "POST /repos/{owner}/{repo}/issues/{issue_number}/comments";
const POST_PULL: &str = "POST /repos/{owner}/{repo}/pulls";
const GET_COMMENTS: &str = "GET /repos/{owner}/{repo}/issues/{issue_number}/comments";
const CALL: Duration = Duration::from_secs(5);
const VISIBILITY: Duration = Duration::from_mins(4);
const BRANCH: &str = "codex/issue-1";

#[derive(Debug)]
struct Proof(LeaseGrant);

impl WriterProof for Proof {
    fn grant(&self) -> Option<LeaseGrant> {
        Some(self.0.clone())
    }
}

/// A store with a pending run, a forge with an issue, and who applies plans to them.
struct Stage {
    world: World,
    scene: Scene,
    applier: Applier,
    run: RunId,
    number: IssueNumber,
}

impl Stage {
    async fn new() -> Self {
        let (world, scene) = (World::bound().await, Scene::new().await);
        let mut tx = world.begin().await;
        let bound = event(EventKind::RepositoryBound);
        let id = scene.repo(REPO).id;
        tx.bind_repository(&binding(id.0, "shop"), &bound)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let run = world.pending_run(1).await.id;
        let keys = BTreeMap::from([(1, b"sixteen bytes or more".to_vec().into())]);
        let applier = Applier::new(
            world.store.clone(),
            Arc::new(scene.forge()),
            Arc::new(NoCluster),
            Arc::new(RunKeys::new(keys).unwrap()),
            ApplySettings {
                call_timeout: CALL,
                visibility: VISIBILITY,
                concurrency: codex_k8s::apply::CONCURRENCY,
            },
        );
        let number = scene.open("Greet politely");
        Self {
            world,
            scene,
            applier,
            run,
            number,
        }
    }

    fn subject(&self, number: IssueNumber) -> Subject {
        Subject {
            repository: self.scene.repo(REPO).id,
            number,
        }
    }

    fn comment(&self, number: IssueNumber) -> Action {
        let key = format!("run/{}/comment/{number}", self.run);
        let marker = comment_marker(&key);
        Action {
            run: Some(self.run),
            kind: ActionKind::UpsertComment {
                content: CommentContent {
                    subject: self.subject(number),
                    repository: REPO.parse().unwrap(),
                    body: format!("Working on it.\n{marker}"),
                    marker,
                },
                event: event(EventKind::CommentUpserted),
            },
            key: EffectKey(key),
        }
    }

    fn label(&self) -> Action {
        Action {
            key: EffectKey(format!("run/{}/label", self.run)),
            run: Some(self.run),
            kind: ActionKind::AddLabels {
                subject: self.subject(self.number),
                repository: REPO.parse().unwrap(),
                labels: vec![LabelName::new("state:in-review")],
                event: event(EventKind::LabelApplied),
            },
        }
    }

    fn pull(&self) -> Action {
        Action {
            key: EffectKey(format!("run/{}/pull_request", self.run)),
            run: Some(self.run),
            kind: ActionKind::OpenPullRequest {
                content: PullRequestContent {
                    repository: REPO.parse().unwrap(),
                    head: BranchName::new(BRANCH),
                    base: BranchName::new("main"),
                    title: "Greet politely".to_owned(),
                    body: pull_request_marker(&self.run),
                },
                subject: self.subject(self.number),
                event: event(EventKind::PullRequestCreated),
            },
        }
    }

    fn branch(&self) {
        let files = [("new.txt", "x")];
        self.scene
            .model
            .push_commit(REPO, BRANCH, "codex", &files, "Add")
            .unwrap();
    }

    /// Applies these actions once, as a pass does.
    async fn apply(&self, actions: &[&Action]) -> Vec<Outcome> {
        let plan = Plan {
            scope: Scope::Project {
                project: "shop".into(),
            },
            revision: None,
            actions: actions.iter().map(|action| (*action).clone()).collect(),
            report: Vec::new(),
        };
        let now = self.world.store.now().await.unwrap();
        let us = self.scene.model.user_id("codex").unwrap();
        let own = [UserId(i64::try_from(us).unwrap())];
        let proof = Proof(self.world.grant.clone());
        let report = self.applier.apply(&plan, &proof, now, &own).await;
        report
            .outcomes
            .into_iter()
            .map(|(_, outcome)| outcome)
            .collect()
    }

    /// Commits the intent of an action, as the process does that dies thereafter.
    async fn intend(&self, action: &Action) {
        let mut tx = self.world.begin().await;
        tx.intend(&EffectIntent {
            key: &action.key,
            run: action.run,
            kind: action.kind.name().into(),
            intended_hash: &action.content_hash(),
            call_timeout: CALL,
        })
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    /// An action whose call may have been made is looked up until absence counts, and then
    /// made. Looking it up does not put that moment off.
    async fn check_deferred_then_done(&self, action: &Action) {
        let counts = CALL + VISIBILITY + Duration::from_secs(1);
        for passed in [
            Duration::ZERO,
            counts.saturating_sub(Duration::from_mins(1)),
        ] {
            self.world.database.shift_clock(passed).await;
            assert_eq!(self.apply(&[action]).await, [Outcome::Deferred]);
        }
        self.world.database.shift_clock(counts).await;
        assert_eq!(self.apply(&[action]).await, [Outcome::Done]);
    }

    fn fault(&self, route: &str, fault: Fault) {
        self.scene.model.add_fault(FaultRule::once(route, fault));
    }

    fn forge(&self) -> GithubForge {
        self.scene.forge()
    }

    async fn comments(&self) -> Vec<Comment> {
        let repo = self.scene.repo(REPO);
        let filter = CommentFilter::On(self.number);
        self.forge().comments(&repo, filter).await.unwrap()
    }

    async fn pulls(&self) -> usize {
        let (repo, branch) = (self.scene.repo(REPO), BranchName::new(BRANCH));
        let found = self.forge().find_pulls_by_head(&repo, &branch).await;
        found.unwrap().len()
    }

    async fn events(&self, kind: EventKind) -> Vec<FlowEvent> {
        let all = self.world.store.reads().events_since(0, 100).await.unwrap();
        all.into_iter().filter(|it| it.event.kind == kind).collect()
    }

    /// One comment, and one event that says whether it was recovered.
    async fn check_one_comment(&self, recovered: bool) {
        assert_eq!(self.comments().await.len(), 1);
        let events = self.events(EventKind::CommentUpserted).await;
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(
            events[0].event.payload.get("recovered").is_some(),
            recovered
        );
    }

    /// One pull request, and one event that says whether it was recovered.
    async fn check_one_pull(&self, recovered: bool) {
        assert_eq!(self.pulls().await, 1);
        let events = self.events(EventKind::PullRequestCreated).await;
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(
            events[0].event.payload.get("recovered").is_some(),
            recovered
        );
    }
}

/// After a definite refusal only the backoff is waited for, not what an answerless call needs.
#[tokio::test]
async fn a_call_that_was_refused_is_made_again_as_soon_as_its_backoff_is_over() {
    for status in [403, 404, 422, 429] {
        let stage = Stage::new().await;
        stage.branch();
        let retry_after = None;
        for (action, route) in [
            (stage.comment(stage.number), POST_COMMENT),
            (stage.pull(), POST_PULL),
        ] {
            stage.fault(
                route,
                Fault::Status {
                    status,
                    retry_after,
                },
            );
            assert_eq!(stage.apply(&[&action]).await, [Outcome::Failed], "{status}");
            let effect = stage.world.store.effect(&action.key).await.unwrap();
            assert_eq!(effect.unwrap().attempted_at, None, "{status}");
            // A secondary limit without a word on its length is waited out by the client.
            if status != 429 && status != 403 {
                assert_eq!(stage.apply(&[&action]).await, [Outcome::Done], "{status}");
            }
        }
    }
}

/// What is refused later says nothing of an earlier call whose answer was lost.
#[tokio::test]
async fn a_refused_lookup_does_not_take_an_earlier_intent_back() {
    let stage = Stage::new().await;
    let action = stage.comment(stage.number);
    stage.intend(&action).await;
    let forbidden = Fault::Status {
        status: 404,
        retry_after: None,
    };
    stage.fault(GET_COMMENTS, forbidden);
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Failed]);
    stage.check_deferred_then_done(&action).await;
    stage.check_one_comment(false).await;
}

#[tokio::test]
async fn a_comment_whose_answer_was_lost_is_found_and_not_written_twice() {
    let stage = Stage::new().await;
    let action = stage.comment(stage.number);
    stage.fault(POST_COMMENT, Fault::LostAnswer { hold_ms: 0 });
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Failed]);
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Recovered]);
    stage.check_one_comment(true).await;
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Done]);
    stage.check_one_comment(true).await;
}

#[tokio::test]
async fn a_comment_that_never_arrived_is_written_once_its_absence_counts() {
    let stage = Stage::new().await;
    let action = stage.comment(stage.number);
    stage.fault(POST_COMMENT, Fault::LostRequest { hold_ms: 0 });
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Failed]);
    assert_eq!(stage.comments().await, vec![]);
    stage.check_deferred_then_done(&action).await;
    stage.check_one_comment(false).await;
}

#[tokio::test]
async fn a_comment_is_written_once_wherever_the_process_died() {
    // After the intent, before the call.
    let stage = Stage::new().await;
    let action = stage.comment(stage.number);
    stage.intend(&action).await;
    stage.check_deferred_then_done(&action).await;
    stage.check_one_comment(false).await;

    // After the call, before `done`.
    let stage = Stage::new().await;
    let action = stage.comment(stage.number);
    stage.intend(&action).await;
    let ActionKind::UpsertComment { content, .. } = &action.kind else {
        unreachable!("it is a comment");
    };
    let repo = stage.scene.repo(REPO);
    let made = stage
        .forge()
        .create_comment(&repo, stage.number, &content.body)
        .await
        .unwrap();
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Recovered]);
    stage.check_one_comment(true).await;
    let kept = stage.world.store.effect(&action.key).await.unwrap();
    assert_eq!(kept.unwrap().external_id, Some(made.id.to_string()));
}

#[tokio::test]
async fn duplicate_comments_heal_and_the_oldest_stays() {
    let stage = Stage::new().await;
    let action = stage.comment(stage.number);
    let ActionKind::UpsertComment { content, .. } = &action.kind else {
        unreachable!("it is a comment");
    };
    let repo = stage.scene.repo(REPO);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let made = stage
            .forge()
            .create_comment(&repo, stage.number, &content.body)
            .await;
        ids.push(made.unwrap().id);
    }
    stage.intend(&action).await;
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Recovered]);
    let left: Vec<_> = stage.comments().await.into_iter().map(|c| c.id).collect();
    assert_eq!(left, ids[..1]);
}

#[tokio::test]
async fn a_comment_that_a_former_holders_request_made_late_is_gone_after_the_next_edit() {
    let stage = Stage::new().await;
    let mut action = stage.comment(stage.number);
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Done]);
    let ActionKind::UpsertComment { content, .. } = &mut action.kind else {
        unreachable!("it is a comment");
    };
    let repo = stage.scene.repo(REPO);
    let forge = stage.forge();
    let late = forge.create_comment(&repo, stage.number, &content.body);
    let late = late.await.unwrap().id;
    content.body.push_str("\nIt goes on.");
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Done]);
    let [left] = &stage.comments().await[..] else {
        panic!("the duplicate is still there");
    };
    assert!(left.id != late && left.body.contains("It goes on."));
}

#[tokio::test]
async fn a_pull_request_is_opened_once_whatever_is_lost_on_the_way() {
    // The answer.
    let stage = Stage::new().await;
    stage.branch();
    let action = stage.pull();
    stage.fault(POST_PULL, Fault::LostAnswer { hold_ms: 0 });
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Failed]);
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Recovered]);
    stage.check_one_pull(true).await;

    // The request.
    let stage = Stage::new().await;
    stage.branch();
    let action = stage.pull();
    stage.fault(POST_PULL, Fault::LostRequest { hold_ms: 0 });
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Failed]);
    stage.check_deferred_then_done(&action).await;
    stage.check_one_pull(false).await;
}

#[tokio::test]
async fn a_pull_request_of_somebody_else_on_the_branch_is_not_taken_for_ours() {
    let stage = Stage::new().await;
    stage.branch();
    let action = stage.pull();
    let new = NewPull {
        head: BranchName::new(BRANCH),
        base: BranchName::new("main"),
        title: "Mine".to_owned(),
        body: "without a mark".to_owned(),
        draft: false,
    };
    let repo = stage.scene.repo(REPO);
    stage.forge().create_pull(&repo, &new).await.unwrap();
    assert_eq!(stage.apply(&[&action]).await, [Outcome::Failed]);
    assert!(stage.events(EventKind::PullRequestCreated).await.is_empty());
}

#[tokio::test]
async fn an_action_that_fails_backs_off_alone() {
    let stage = Stage::new().await;
    let (bad, good) = (stage.comment(IssueNumber(999)), stage.comment(stage.number));
    let mut outcomes = stage.apply(&[&bad, &good]).await;
    outcomes.sort_by_key(|outcome| *outcome != Outcome::Done);
    assert_eq!(outcomes, [Outcome::Done, Outcome::Failed]);
    stage.check_one_comment(false).await;
    let now = stage.world.store.now().await.unwrap();
    let failed = stage.world.store.effect(&bad.key).await.unwrap().unwrap();
    assert_eq!((failed.attempts, failed.done_at), (1, None));
    assert!(failed.next_at.is_some() && failed.last_error.is_some());
    let done = stage.world.store.effect(&good.key).await.unwrap().unwrap();
    assert!(done.is_done(&good.content_hash()) && done.retry_at(now).is_none());
}

#[tokio::test]
async fn who_lost_the_lease_sends_nothing_and_records_nothing() {
    let stage = Stage::new().await;
    let action = stage.comment(stage.number);
    stage.world.database.shift_clock(LEASE * 2).await;
    assert_eq!(stage.apply(&[&action]).await, [Outcome::NotSent]);
    assert!(stage.scene.model.writes().is_empty());
    assert_eq!(stage.world.store.effect(&action.key).await.unwrap(), None);
}

#[tokio::test]
async fn nothing_is_sent_under_a_lease_that_another_has_taken() {
    let stage = Stage::new().await;
    // Set-to-value writes commit no intent, and here is no write gate that could close.
    let label = stage.label();
    let over = LEASE + Duration::from_secs(1);
    stage.world.database.shift_clock(over).await;
    acquire(&stage.world.store, "second").await;
    let before = stage.scene.model.arrivals().len();
    let comment = stage.comment(stage.number);
    for action in [&label, &comment] {
        assert_eq!(stage.apply(&[action]).await, [Outcome::NotSent]);
    }
    let sent = stage.scene.model.arrivals();
    assert_eq!(sent[before..], []);
}
