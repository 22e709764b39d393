//! Bad input and what it gets: an error with its place, all of them together,
//! quickly, and nothing taken.

mod cases;
mod custom;

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use codex_k8s::{
    cli::validate::{self, ValidateArgs, ValidateOutput},
    desired::load::{Code, ConfigError, load, read_folder},
    domain::ids::CommitSha,
};
use tempfile::TempDir;

use self::cases::{AGENT, BETWEEN, Case, PROJECT, SHAPES};

/// The example organisation in a folder of its own, to be broken.
struct Broken {
    folder: TempDir,
}

impl Broken {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = Path::new(env!("CARGO_MANIFEST_DIR")).join("state");
        for file in read_folder(&state).unwrap().files {
            let path = folder.path().join(&file.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file.bytes).unwrap();
        }
        Self { folder }
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    #[track_caller]
    fn replace(&self, path: &str, from: &str, to: &str) -> &Self {
        let text = std::fs::read_to_string(self.folder.path().join(path)).unwrap();
        assert!(text.contains(from), "{path} has no `{from}`");
        self.write(path, text.replacen(from, to, 1))
    }

    fn errors(&self) -> Vec<ConfigError> {
        let files = read_folder(self.folder.path()).unwrap();
        load(CommitSha::new("0"), files).err().unwrap_or_default()
    }
}

/// What is wrong with a case, for people.
fn mismatch(case: &Case) -> Option<String> {
    let broken = Broken::new();
    broken.replace(case.file, case.from, case.to);
    let errors = broken.errors();
    let good = errors.len() == 1
        && errors[0].file == case.file
        && (errors[0].line, errors[0].column) == case.place
        && errors[0].path == case.path
        && errors[0].code == case.code
        && errors[0].message.contains(case.message);
    let lines: Vec<String> = errors
        .iter()
        .map(|error| format!("  {error} [{} {}]", error.code, error.path))
        .collect();
    (!good).then(|| {
        format!(
            "{} → {}, expected {:?} {:?}:\n{}\n",
            case.from,
            case.to,
            case.place,
            case.path,
            lines.join("\n")
        )
    })
}

#[track_caller]
fn check(cases: &[Case]) {
    let wrong: Vec<String> = cases.iter().filter_map(mismatch).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn errors_of_shape_have_their_place() {
    check(SHAPES);
}

#[test]
fn errors_between_documents_have_their_place() {
    check(BETWEEN);
}

#[test]
fn a_description_of_a_hundred_characters_is_taken_however_many_bytes_it_has() {
    let broken = Broken::new();
    let long = "ж".repeat(100);
    broken.replace(
        "labels.yaml",
        "Разобраться, в чём проблема, и описать её",
        &long,
    );
    assert_eq!(broken.errors(), []);
}

#[test]
fn a_tag_is_not_enough_where_digests_are_asked_for() {
    let broken = Broken::new();
    let (asked, tag) = ("requireImageDigests: true", "codex-k8s/agent:latest");
    broken.replace("platform.yaml", "requireImageDigests: false", asked);
    let roles = ["dev", "em", "km", "pm", "qa", "reviewer", "sa", "sre"];
    let errors = broken.errors();
    assert_eq!(errors.len(), roles.len());
    for error in errors {
        assert_eq!((error.line, error.path.as_str()), (8, "/spec/image"));
        assert!(error.message.contains("not named by its digest"), "{error}");
    }
    let pinned = format!("{tag}@sha256:{}", "0123456789abcdef".repeat(4));
    for role in roles {
        broken.replace(&format!("agents/{role}.yaml"), tag, &pinned);
    }
    assert_eq!(broken.errors(), []);
}

#[test]
fn all_errors_of_all_files_come_together_in_order() {
    let broken = Broken::new();
    broken
        .replace(
            AGENT,
            "policy: standard",
            "policy: absent\n  surprise: 1\n  image: 3",
        )
        .replace(PROJECT, "slots: 2", "slots: many")
        .write("zzz.yaml", "a: [1\n");
    let errors = broken.errors();
    let found: Vec<_> = errors
        .iter()
        .map(|error| (error.file.as_str(), error.code))
        .collect();
    assert_eq!(
        found,
        [
            (AGENT, Code::UnknownField),
            (AGENT, Code::DuplicateKey),
            (AGENT, Code::WrongType),
            (PROJECT, Code::WrongType),
            ("zzz.yaml", Code::InvalidYaml),
        ],
        "{errors:#?}"
    );
}

#[test]
fn kinds_of_a_later_version_are_refused_by_name() {
    for kind in ["Secret", "Variable", "Database", "Docset"] {
        let broken = Broken::new();
        broken.write("later.yaml", format!("apiVersion: codex-k8s.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: x }}\nspec: {{}}\n"));
        let errors = broken.errors();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert_eq!(errors[0].code, Code::UnsupportedKind);
        assert_eq!(
            errors[0].to_string(),
            format!("later.yaml:2:7: kind {kind} is not supported yet")
        );
    }
}

#[test]
fn names_are_taken_once_and_folders_need_their_project() {
    let broken = Broken::new();
    let agent = std::fs::read_to_string(broken.folder.path().join(AGENT)).unwrap();
    broken
        .write("agents/again.yaml", &agent)
        .write("projects/dmo/agents/dev.yaml", &agent);
    let errors = broken.errors();
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "agents/dev.yaml:4:9: duplicate Agent `dev`; the first is at agents/again.yaml:1",
            "projects/dmo/agents/dev.yaml:2:7: `projects/dmo/` belongs to no Project `dmo`; did you mean `demo`?",
        ]
    );
}

#[test]
fn a_single_kind_is_there_exactly_once_and_outside_projects() {
    let broken = Broken::new();
    let labels = std::fs::read_to_string(broken.folder.path().join("labels.yaml")).unwrap();
    std::fs::remove_file(broken.folder.path().join("stages.yaml")).unwrap();
    broken
        .write("more.yaml", &labels)
        .write("projects/demo/labels.yaml", &labels);
    let found: Vec<_> = broken
        .errors()
        .into_iter()
        .map(|error| (error.file, error.code))
        .collect();
    assert_eq!(
        found,
        [
            (".".to_owned(), Code::MissingDocument),
            ("more.yaml".to_owned(), Code::DuplicateName),
            ("projects/demo/labels.yaml".to_owned(), Code::WrongPlace),
        ]
    );
}

/// A file, its content, the code and the place of its error.
type HostileFile = (&'static str, Vec<u8>, Code, (usize, usize));

/// Aliases of aliases, ten to a level.
fn bomb(levels: usize) -> String {
    let first = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    (1..levels).fold(first, |text, level| {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text + &format!("a{level}: &a{level} [{aliases}]\n")
    })
}

#[test]
fn hostile_files_are_refused_quickly_with_their_place() {
    let bomb = bomb(40);
    let keys: Vec<String> = (0..60_000)
        .map(|number| format!("key{number}: 1\n"))
        .collect();
    // Many values below many long keys: their places alone would fill gigabytes.
    let indent = |depth: usize| " ".repeat(depth);
    let long: Vec<String> = (0..60)
        .map(|depth| indent(depth) + &"k".repeat(1000) + ":\n")
        .collect();
    let long = long.concat() + &indent(60) + "[" + &"x, ".repeat(150_000) + "]\n";
    let cases: [HostileFile; 8] = [
        (
            "invalid.yaml",
            b"a: 1\n b: 2\n".to_vec(),
            Code::InvalidYaml,
            (2, 3),
        ),
        ("bomb.yaml", bomb.into_bytes(), Code::AliasBomb, (6, 10)),
        (
            "deep.yaml",
            "[".repeat(20_000).into_bytes(),
            Code::TooDeep,
            (1, 65),
        ),
        (
            "deep-maps.yaml",
            "{a: ".repeat(20_000).into_bytes(),
            Code::TooDeep,
            (1, 257),
        ),
        (
            "huge.yaml",
            vec![b'a'; 100 * 1024 * 1024],
            Code::TooLarge,
            (1, 1),
        ),
        ("long.yaml", long.into_bytes(), Code::TooLarge, (61, 3320)),
        (
            "latin1.yaml",
            b"# caf\xe9\n".to_vec(),
            Code::NotUtf8,
            (1, 6),
        ),
        (
            "keys.yaml",
            keys.concat().into_bytes(),
            Code::MissingField,
            (1, 1),
        ),
    ];
    let started = Instant::now();
    for (file, content, code, place) in cases {
        let broken = Broken::new();
        broken.write(file, content);
        let errors = broken.errors();
        let first = errors.iter().find(|error| error.code == code);
        let lines: Vec<String> = errors.iter().take(5).map(ToString::to_string).collect();
        let first = first.unwrap_or_else(|| panic!("{file}: {lines:#?}"));
        assert_eq!(
            (first.file.as_str(), first.line, first.column),
            (file, place.0, place.1),
            "{lines:#?}"
        );
    }
    assert!(
        started.elapsed() < Duration::from_mins(1),
        "hostile input is judged in seconds"
    );
}

#[cfg(unix)]
#[test]
fn links_out_of_the_folder_are_refused_and_never_read() {
    let broken = Broken::new();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("x.yaml"), "secret: 1\n").unwrap();
    let link = |target: &Path, name: &str| {
        std::os::unix::fs::symlink(target, broken.folder.path().join(name)).unwrap();
    };
    link(&outside.path().join("x.yaml"), "agents/out.yaml");
    link(outside.path(), "folder");
    link(Path::new("../../x.yaml"), "agents/up.yaml");
    link(Path::new("dev.yaml"), "agents/same.yaml");
    let found: Vec<_> = broken
        .errors()
        .into_iter()
        .map(|error| (error.file, error.code))
        .collect();
    assert_eq!(
        found,
        [
            ("agents/out.yaml".to_owned(), Code::PathEscapes),
            ("agents/same.yaml".to_owned(), Code::SymbolicLink),
            ("agents/up.yaml".to_owned(), Code::PathEscapes),
            ("folder".to_owned(), Code::PathEscapes),
        ]
    );
}

#[test]
fn validate_exits_0_for_a_good_folder_and_1_for_a_bad_one() {
    let broken = Broken::new();
    let args = |output| ValidateArgs {
        path: broken.folder.path().to_path_buf(),
        output,
    };
    assert_eq!(
        validate::run(&args(ValidateOutput::Human)).unwrap(),
        ExitCode::SUCCESS
    );
    broken.write("bad.yaml", "a: [1\n");
    assert_eq!(
        validate::run(&args(ValidateOutput::Human)).unwrap(),
        ExitCode::FAILURE
    );
    assert_eq!(
        validate::run(&args(ValidateOutput::Json)).unwrap(),
        ExitCode::FAILURE
    );
    let absent = ValidateArgs {
        path: broken.folder.path().join("absent"),
        output: ValidateOutput::Human,
    };
    assert!(validate::run(&absent).is_err());
}

#[test]
fn an_error_is_one_line_whatever_the_file_says() {
    let broken = Broken::new();
    broken.write(
        "x.yaml",
        "apiVersion: codex-k8s.dev/v1alpha1\nkind: \"Age\\nnt\\e[31m\"\n",
    );
    let line = broken.errors()[0].to_string();
    assert!(!line.contains('\n') && !line.contains('\u{1b}'), "{line:?}");
}

#[test]
fn a_revise_label_needs_a_stage_that_can_be_revised() {
    let broken = Broken::new();
    broken.replace("stages.yaml", "revisable: true", "revisable: false");
    let lines: Vec<String> = broken.errors().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["labels.yaml:14:15: stage `intake` is not revisable"]
    );
}
