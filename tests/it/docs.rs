//! Pages that are written by the code are what it says (`UPDATE_DOCS=1 cargo test --test it docs`
//! writes them anew), and each invariant names tests that are there and a patch that breaks it.

use std::{fs, path::Path};

/// The page of what the platform is put through.
const FAULTS_PAGE: &str = "docs/faults.md";
/// The threat model, and what agents try.
const SECURITY_PAGE: &str = "docs/security.md";

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

#[test]
fn the_page_of_stages_is_up_to_date() {
    check_page(
        "docs/reference/stages.md",
        &codex_k8s::plan::page::stages_page(&crate::desired::example::example()),
    );
}

/// A page with a part between two marks that the code writes.
#[track_caller]
fn check_part(page: &str, mark: &str, expected: &str) {
    let (begin, end) = (
        format!("<!-- {mark}: begin -->\n"),
        format!("<!-- {mark}: end -->"),
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let found = fs::read_to_string(path).unwrap();
    let (before, rest) = found.split_once(&begin).expect("the part begins");
    let (_, after) = rest.split_once(&end).expect("the part ends");
    check_page(page, &format!("{before}{begin}{expected}{end}{after}"));
}

#[test]
fn the_page_of_faults_shows_what_seeds_draw() {
    check_part(FAULTS_PAGE, "drawn", &crate::world::page::drawn());
}

#[test]
fn the_page_on_security_shows_what_agents_try() {
    let table = crate::sandbox::hostile::page::table();
    check_part(SECURITY_PAGE, "tried", &table);
}

#[test]
fn pages_name_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = sources(&root.join("src")) + &sources(&root.join("tests/it"));
    for (page, least) in [(FAULTS_PAGE, 20), (SECURITY_PAGE, 3)] {
        let page = fs::read_to_string(root.join(page)).unwrap();
        let named = named_tests(&page);
        let absent: Vec<_> = named
            .iter()
            .filter(|name| {
                !sources.contains(&format!("fn {name}("))
                    && !sources.contains(&format!("mod {name};"))
            })
            .collect();
        assert!(absent.is_empty() && named.len() >= least, "{absent:?}");
    }
}

/// The last parts of all paths in backquotes that name a function of ours.
fn named_tests(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| {
            word.contains("::")
                && word
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
        })
        .filter_map(|word| Some(word.rsplit_once("::")?.1.to_owned()))
        .collect()
}

/// Every source of ours in one text.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push_str(&sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    all
}

#[test]
fn each_invariant_names_tests_that_exist_and_has_a_patch_that_breaks_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = sources(&root.join("src")) + &sources(&root.join("tests/it"));
    let is_there = |name: &str| sources.contains(&format!("fn {name}("));
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let patches: Vec<String> = fs::read_dir(root.join("tests/planted"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "patch"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for number in 1..=12 {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| I{number} |")));
        let named = named_tests(row.unwrap_or_else(|| panic!("I{number} has no row")));
        assert!(!named.is_empty(), "I{number} names no test");
        let absent: Vec<_> = named.iter().filter(|name| !is_there(name)).collect();
        assert!(absent.is_empty(), "I{number} names {absent:?}");
        let header = format!("# breaks: I{number}\n");
        assert!(
            patches.iter().any(|patch| patch.starts_with(&header)),
            "no patch breaks I{number}"
        );
    }
    for patch in &patches {
        let test = patch.lines().find_map(|line| line.strip_prefix("# test: "));
        let test = test.unwrap_or_else(|| panic!("a patch without a test: {patch}"));
        let name = test.rsplit("::").next().unwrap_or(test);
        assert!(is_there(name), "there is no test {test}");
    }
}
