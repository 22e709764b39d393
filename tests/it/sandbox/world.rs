//! The world without `serve`: everything stands, fits together and goes.

use codex_k8s::{
    cluster::{
        Cluster, OpenGate,
        kube::{Connection, KubeCluster, KubeOptions},
    },
    sandbox::{
        seed,
        world::{SandboxWorld, WorldOptions},
    },
    settings::{Settings, Sources},
};
use std::sync::Arc;

#[tokio::test]
async fn a_world_stands_with_settings_that_serve_accepts_and_leaves_nothing_behind() {
    let mut parts = Vec::new();
    let world = SandboxWorld::start(WorldOptions::default(), |part, _| {
        parts.push(part.to_owned());
    })
    .await
    .unwrap();
    assert_eq!(parts.len(), 4, "{parts:?}");
    let sources = Sources {
        file: None,
        environment: world.settings().clone(),
    };
    assert_eq!(sources.unknown_variables(), Vec::<&str>::new());
    let settings = Settings::load(&sources).unwrap();
    let store = world.store().await.unwrap();
    assert!(store.schema_is_current().await.unwrap());
    let connection = Connection::Kubeconfig {
        path: settings.cluster.kubeconfig.unwrap(),
        context: None,
    };
    let options = KubeOptions::new("sandbox", &settings.cluster.platform_namespace);
    let cluster = KubeCluster::connect(&connection, options, Arc::new(OpenGate))
        .await
        .unwrap();
    assert!(cluster.list_owned().await.unwrap().namespaces.is_empty());
    // The ids of the example's members are those of the model's accounts.
    assert_eq!(world.github().user_id("ada").unwrap(), 1_001);
    assert_eq!(world.github().user_id("grace").unwrap(), 1_002);
    assert!(world.github().repository_id(seed::REPOSITORY).is_ok());
    let folder = world.folder().to_owned();
    assert!(folder.exists());
    store.close().await;
    world.end().await.unwrap();
    assert!(!folder.exists());
}
