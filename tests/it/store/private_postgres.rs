//! The private Postgres: its folder is used again, and it ends with its owner.

use codex_k8s::{
    sandbox::postgres::{Durability, PrivatePostgres},
    store::{Store, StoreSettings, admin, migrate},
};
use secrecy::ExposeSecret;

#[tokio::test]
async fn a_data_folder_is_used_again_and_the_server_ends_with_its_owner() {
    let folder = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
    let data = folder.path().join("postgres");
    let first = PrivatePostgres::start(Some(data.clone()), Durability::Fast)
        .await
        .unwrap();
    admin::create_database(&first.url("postgres"), "kept", None)
        .await
        .unwrap();
    migrate(&first.url("kept"), None).await.unwrap();
    let gone = first.url("kept");
    drop(first);
    assert!(!admin::answers(&gone).await, "dropped, it is stopped");

    let second = PrivatePostgres::start(Some(data), Durability::Safe)
        .await
        .unwrap();
    let settings = StoreSettings::new(second.url("kept").expose_secret());
    let store = Store::connect(&settings).await.unwrap();
    assert!(store.schema_is_current().await.unwrap());
}
