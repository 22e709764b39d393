//! A bad commit changes nothing; the next good one is taken at once.

use std::{path::Path, sync::Arc};

use codex_k8s::{
    apply::WriterProof,
    desired::source::{ConfigSource, Location, SourceSettings},
    domain::event::EventKind,
    reconcile::config::{ConfigInForce, ConfigPoller},
    store::{LeaseGrant, Store},
    telemetry::metrics::Metrics,
};
use git2::Oid;

use crate::{
    desired::git_server::{Put, TestRepository},
    store::fixtures::World,
};

#[derive(Debug)]
struct Proof(LeaseGrant);

impl WriterProof for Proof {
    fn grant(&self) -> Option<LeaseGrant> {
        Some(self.0.clone())
    }
}

fn poller(folder: &Path, store: &Store) -> (ConfigPoller, ConfigInForce) {
    let location = Location::Local(folder.join("config.git"));
    let reference = "main".parse().unwrap();
    let settings = SourceSettings::new(location, reference, folder.join("cache"));
    let (in_force, metrics) = (ConfigInForce::default(), Metrics::new().unwrap());
    let source = Arc::new(ConfigSource::new(settings));
    let poller = ConfigPoller::new(source, store.clone(), in_force.clone(), metrics);
    (poller, in_force)
}

#[track_caller]
fn check_in_force(in_force: &ConfigInForce, commit: Oid) {
    let desired = in_force.get().expect("a config is in force");
    assert_eq!(desired.sha.as_str(), commit.to_string());
}

#[tokio::test]
async fn a_bad_commit_leaves_the_last_good_config_in_force_and_the_next_good_one_counts() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let origin = TestRepository::init(&folder.path().join("config.git"));
    let good = origin.commit_state("main");
    let (poller, in_force) = poller(folder.path(), &world.store);
    let proof = Proof(world.grant.clone());
    assert!(poller.poll(&proof).await.unwrap());
    check_in_force(&in_force, good);

    let broken = [("platform.yaml", Put::File(b"kind: [".as_slice()))];
    origin.commit("main", "Break it", &broken);
    for _ in 0..3 {
        assert!(!poller.poll(&proof).await.unwrap(), "nothing else counts");
    }
    check_in_force(&in_force, good);
    let accepted = world.store.last_accepted_config().await.unwrap().unwrap();
    assert_eq!(accepted.sha.as_str(), good.to_string());

    let next = origin.commit_state("main");
    assert!(poller.poll(&proof).await.unwrap());
    check_in_force(&in_force, next);
    let events = world.store.reads().events_since(0, 100).await.unwrap();
    let kinds: Vec<EventKind> = events.into_iter().map(|it| it.event.kind).collect();
    let (accepted, refused) = (EventKind::ConfigAccepted, EventKind::ConfigRefused);
    assert_eq!(kinds, [accepted, refused, accepted]);
}

#[tokio::test]
async fn a_restart_beside_a_bad_commit_goes_on_with_the_last_good_config() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let origin = TestRepository::init(&folder.path().join("config.git"));
    let good = origin.commit_state("main");
    let proof = Proof(world.grant.clone());
    let (before, _) = poller(folder.path(), &world.store);
    before.poll(&proof).await.unwrap();
    let broken = [("platform.yaml", Put::File(b"kind: [".as_slice()))];
    origin.commit("main", "Break it", &broken);

    let (after, in_force) = poller(folder.path(), &world.store);
    after.restore().await.unwrap();
    check_in_force(&in_force, good);
    assert!(!after.poll(&proof).await.unwrap());
    check_in_force(&in_force, good);
}
