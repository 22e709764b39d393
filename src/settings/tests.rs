//! Loading as a whole: precedence, secrets, and all problems at once.

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use secrecy::ExposeSecret;

use super::*;

const KEY: &str = "1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(name, value): &(&str, &str)| (format!("CODEXK8S_{name}"), (*value).to_owned());
    let required = [
        ("INSTALLATION_ID", "here"),
        ("DATABASE_URL", "postgres://u:hidden-word@localhost/db"),
        ("CONFIG_SOURCE", "./state"),
        ("FORGE_TOKEN", "forge-hidden"),
        ("RUN_TOKEN_KEYS", KEY),
    ];
    required
        .iter()
        .map(own)
        .chain(pairs.iter().map(own))
        .collect()
}

fn sources(pairs: &[(&str, &str)]) -> Sources {
    Sources {
        file: None,
        environment: environment(pairs),
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn problems(sources: &Sources) -> Vec<String> {
    let error = Settings::load(sources).expect_err("these settings are wrong");
    error.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn required_variables_and_defaults_are_enough() {
    let settings = Settings::load(&sources(&[])).unwrap();
    assert_eq!(settings.installation.as_str(), "here");
    assert_eq!(settings.timing, Timing::of(Profile::Production));
    assert_eq!(
        settings.config.reference,
        ConfigRef::Branch("main".to_owned())
    );
    assert_eq!(
        settings.forge.graphql_url.as_str(),
        "https://api.github.com/graphql"
    );
    assert_eq!(settings.cluster.namespace_prefix, "codex-issue");
    assert_eq!(settings.run.url.as_str(), "http://127.0.0.1:8082/");
    assert_eq!(settings.run.token_keys.current_version(), 1);
    assert_eq!(
        settings.database.api_url.expose_secret(),
        settings.database.url.expose_secret()
    );
}

#[test]
fn a_variable_wins_over_the_file_and_the_file_over_the_default() {
    let file = file(
        "cluster:\n  namespacePrefix: from-file\n  protectedCidrs: [10.0.0.1/32, 10.1.0.0/16]\ntiming:\n  profile: sandbox\n  poll: 5s\n",
    );
    let mut sources = sources(&[("TIMING_POLL", "7s"), ("LOG_FORMAT", "")]);
    sources.file = Some(file.path().to_owned());
    let settings = Settings::load(&sources).unwrap();
    assert_eq!(settings.cluster.namespace_prefix, "from-file");
    assert_eq!(
        settings.cluster.protected_cidrs,
        ["10.0.0.1/32", "10.1.0.0/16"]
    );
    assert_eq!(settings.timing.poll, Duration::from_secs(7));
    assert_eq!(settings.timing.lease, Duration::from_secs(9));
    assert_eq!(settings.logging.format, LogFormat::Auto);
}

#[test]
fn all_problems_are_reported_together_and_with_their_place() {
    let file = file("databse:\n  url: x\nlog:\n  format: loud\n");
    let sources = Sources {
        file: Some(file.path().to_owned()),
        environment: [
            ("CODEXK8S_CONFIG_REF", "main"),
            ("CODEXK8S_TIMING_MARGIN", "9s"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
    };
    let problems = problems(&sources);
    for place in [
        "databse.url:",
        "log.format:",
        "CODEXK8S_INSTALLATION_ID:",
        "CODEXK8S_DATABASE_URL:",
        "CODEXK8S_CONFIG_SOURCE:",
        "CODEXK8S_CONFIG_REF:",
        "CODEXK8S_FORGE_TOKEN:",
        "CODEXK8S_RUN_TOKEN_KEYS:",
        "CODEXK8S_TIMING_REQUEST_TIMEOUT:",
    ] {
        assert_eq!(
            problems
                .iter()
                .filter(|problem| problem.starts_with(place))
                .count(),
            1,
            "{place} in {problems:#?}"
        );
    }
}

#[test]
fn times_that_would_let_a_stale_holder_write_are_refused() {
    for (name, value) in [
        ("TIMING_REQUEST_TIMEOUT", "12s"),
        ("TIMING_MARGIN", "60s"),
        ("TIMING_LEASE", "45s"),
        ("TIMING_STATEMENT_TIMEOUT", "20s"),
        ("TIMING_HEARTBEAT", "2m"),
        ("TIMING_POLL", "0s"),
    ] {
        assert_eq!(
            problems(&sources(&[(name, value)])).len(),
            1,
            "{name}={value}"
        );
    }
}

#[test]
fn a_secret_may_come_from_a_file_but_not_twice() {
    let secret = file("from-a-file\n");
    let path = secret.path().to_str().unwrap();
    let settings = Settings::load(&sources(&[("API_TOKEN_FILE", path)])).unwrap();
    assert_eq!(settings.api.token.unwrap().expose_secret(), "from-a-file");

    let twice = sources(&[("API_TOKEN_FILE", path), ("API_TOKEN", "x")]);
    assert_eq!(problems(&twice).len(), 1);
    let absent = sources(&[("API_TOKEN_FILE", "/nonexistent/token")]);
    assert_eq!(problems(&absent).len(), 1);
    // Only a secret has this variant.
    assert!(variables::of_name("CODEXK8S_LOG_FILE").is_none());
}

#[test]
fn a_forge_credential_is_a_token_or_a_whole_app() {
    let app = [
        ("FORGE_APP_ID", "7"),
        ("FORGE_APP_INSTALLATION", "8"),
        ("FORGE_APP_KEY", "pem"),
    ];
    assert_eq!(problems(&sources(&app)).len(), 1);
    let mut alone = sources(&app);
    alone.environment.remove("CODEXK8S_FORGE_TOKEN");
    let settings = Settings::load(&alone).unwrap();
    assert!(matches!(settings.forge.credential, ForgeCredential::App(_)));
    alone.environment.remove("CODEXK8S_FORGE_APP_KEY");
    assert_eq!(problems(&alone).len(), 1);
}

#[test]
fn no_secret_shows_in_debug_output_or_in_a_problem() {
    let settings = Settings::load(&sources(&[("API_TOKEN", "staff-hidden")])).unwrap();
    let shown = format!("{settings:?}");
    let wrong = sources(&[("RUN_TOKEN_KEYS", "1:nothex-hidden")]);
    let error = Settings::load(&wrong).unwrap_err().to_string();
    for text in [shown, error] {
        assert!(!text.contains("hidden"), "{text}");
        assert!(!text.contains("000102"), "{text}");
    }
}

#[test]
fn token_keys_are_a_ring_whose_highest_version_is_current() {
    let next = KEY.replacen("1:", "3:", 1);
    let ring = sources(&[("RUN_TOKEN_KEYS", &format!("{next},{KEY}"))]);
    let keys = Settings::load(&ring).unwrap().run.token_keys;
    assert_eq!(keys.current_version(), 3);
    assert!(keys.get(1).is_some() && keys.get(2).is_none());
    for bad in ["x", "1:00", "0:00", &format!("{KEY},{KEY}"), ","] {
        assert_eq!(
            problems(&sources(&[("RUN_TOKEN_KEYS", bad)])).len(),
            1,
            "{bad}"
        );
    }
}

#[test]
fn listeners_do_not_share_an_address() {
    let same = sources(&[("OPS_LISTEN", "127.0.0.1:8082")]);
    assert_eq!(problems(&same).len(), 1);
    let free = sources(&[
        ("OPS_LISTEN", "127.0.0.1:0"),
        ("API_LISTEN", "127.0.0.1:0"),
        ("RUN_LISTEN", "127.0.0.1:0"),
    ]);
    assert!(Settings::load(&free).is_ok());
}

#[test]
fn a_command_reads_only_the_parts_it_needs() {
    let only = Sources {
        file: None,
        environment: [(
            "CODEXK8S_DATABASE_URL".to_owned(),
            "postgres://localhost/db".to_owned(),
        )]
        .into(),
    };
    assert!(load::<Database>(&only).is_ok());
    assert!(load::<(Database, Logging)>(&only).is_ok());
    assert!(load::<(Database, Forge)>(&only).is_err());
}

#[test]
fn variables_without_a_meaning_are_named() {
    let sources = sources(&[("CONFIG", "x.yaml"), ("TYPO", "1"), ("API_TOKEN_FILE", "x")]);
    assert_eq!(sources.unknown_variables(), ["CODEXK8S_TYPO"]);
}

#[test]
fn a_file_that_is_no_mapping_is_a_problem_and_not_a_panic() {
    for text in [
        "- a\n",
        "a: [",
        "a: !tag x\n",
        "1: 2\n",
        "log: {format: [[x]]}\n",
        "\u{0}",
    ] {
        let file = file(text);
        let mut sources = sources(&[]);
        sources.file = Some(file.path().to_owned());
        assert!(!problems(&sources).is_empty(), "{text}");
    }
}

#[test]
fn every_name_and_key_is_unique() {
    let mut names: Vec<_> = variables::ALL
        .iter()
        .map(|variable| variable.name)
        .collect();
    let mut keys: Vec<_> = variables::ALL.iter().map(|variable| variable.key).collect();
    names.sort_unstable();
    keys.sort_unstable();
    names.dedup();
    keys.dedup();
    assert_eq!(
        (names.len(), keys.len()),
        (variables::ALL.len(), variables::ALL.len())
    );
}

#[test]
fn the_example_file_lacks_nothing_but_its_mounted_secrets() {
    let sources = Sources {
        file: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/config/production.yaml").into()),
        environment: BTreeMap::new(),
    };
    let problems = problems(&sources);
    let unmounted = |problem: &String| problem.contains("cannot read `/etc/codex-k8s/secrets/");
    assert!(problems.iter().all(unmounted), "{problems:#?}");
    assert_eq!(problems.len(), 7, "{problems:#?}");
}
