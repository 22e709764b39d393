//! Generated pages are what the code says. `UPDATE_DOCS=1 cargo test --test it docs`
//! writes them anew.

use std::{fs, path::Path};

#[track_caller]
fn check_page(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, expected).expect("the page can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not what the code says; write it anew with `make generate`",
        path.display()
    );
}

#[test]
fn the_page_of_process_settings_is_up_to_date() {
    check_page(
        "docs/reference/environment.md",
        &codex_k8s::settings::reference::environment_page(),
    );
}

#[test]
fn the_page_of_configuration_is_up_to_date() {
    check_page(
        "docs/reference/config.md",
        &codex_k8s::desired::model::reference::config_page(),
    );
}
