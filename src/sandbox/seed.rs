//! What the sandbox's world begins with: the example organisation, its people
//! and a little code to work on.
//!
//! The example config repo is part of the program, so that the sandbox needs no
//! source tree. Only two things differ from it: the agent is the scripted one,
//! and its command is allowed.

use std::collections::BTreeMap;

use crate::desired::load::BUILT_IN_PROMPTS;

use super::github::{GitHubModel, ModelError, Permission, RepositorySeed, TokenSeed};

/// The organisation that owns the repositories.
pub const ORGANISATION: &str = "example-org";
/// The repository that `codex-k8s sandbox` shows its run in.
pub const REPOSITORY: &str = "example-org/hello";
/// Both repositories of the example project.
pub const REPOSITORIES: [&str; 2] = [REPOSITORY, "example-org/notes"];
/// The account behind the platform's credential.
pub const PLATFORM_LOGIN: &str = "codex-platform";
/// Who acts where nobody is named; an admin of the example project.
pub const PERSON: &str = "ada";

/// Accounts in the order of their ids, from 1001 on: the ids that `state/` names.
const PEOPLE: [(&str, Permission); 3] = [
    ("ada", Permission::Admin),
    ("grace", Permission::Write),
    ("margaret", Permission::Read),
];

/// Issues that are open when the sandbox starts: (repository, title, text).
const ISSUES: [(&str, &str, &str); 4] = [
    (
        REPOSITORY,
        "Greet people by name",
        "The greeting should name whom it greets.",
    ),
    (
        REPOSITORY,
        "Say goodbye as well",
        "A greeting needs its counterpart.",
    ),
    (REPOSITORY, "Translate the greeting", "French first."),
    (
        "example-org/notes",
        "Write down how notes are kept",
        "One page is enough.",
    ),
];

macro_rules! state {
    ($($path:literal),* $(,)?) => {
        /// The example config repo, but for its prompts.
        const STATE: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../state/", $path)))),*];
    };
}

state![
    "README.md",
    "agents/dev.yaml",
    "agents/em.yaml",
    "agents/km.yaml",
    "agents/pm.yaml",
    "agents/qa.yaml",
    "agents/reviewer.yaml",
    "agents/sa.yaml",
    "agents/sre.yaml",
    "clis/claude.yaml",
    "clis/codex.yaml",
    "labels.yaml",
    "platform.yaml",
    "policies/approvals.yaml",
    "policies/one-at-a-time.yaml",
    "policies/standard.yaml",
    "projects/demo/project.yaml",
    "projects/demo/repositories/hello.yaml",
    "projects/demo/repositories/notes.yaml",
    "stages.yaml",
];

/// The program that works as every agent of the sandbox.
#[derive(Debug, Clone, PartialEq)]
pub enum SeededAgent {
    /// The scripted one, which works for so many seconds.
    Scripted(f64),
    /// A real program with a scripted model at this address.
    Program(AgentProgram, String),
}

/// A real agent program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum AgentProgram {
    /// The codex CLI.
    Codex,
    /// The claude CLI.
    Claude,
}

impl AgentProgram {
    /// Its name: the program's, and that of its `AgentCli`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The line that makes an agent it.
    fn line(self) -> &'static str {
        match self {
            Self::Codex => "  cli: codex",
            Self::Claude => "  cli: claude\n  model: claude-sonnet-4-5",
        }
    }
}

/// The files of the config repo: the example's, with this program as every agent, in the image
/// given, which policy then allows, and of which it asks a digest where it has one.
pub fn config_files(agent: &SeededAgent, image: Option<&str>) -> BTreeMap<String, String> {
    let line = match agent {
        SeededAgent::Scripted(seconds) => {
            format!("  command: [codex-k8s, sandbox-agent, --seconds, \"{seconds}\"]")
        }
        SeededAgent::Program(program, _) => program.line().to_owned(),
    };
    let file = |(path, text): &(&str, &str)| {
        let text = match *path {
            agent if is_agent(agent) => with_line(text, "  cli:", &line),
            "platform.yaml" => with_line(text, "      allowed: [codex, claude]", ALLOWED),
            _ => (*text).to_owned(),
        };
        let text = match (agent, *path) {
            (SeededAgent::Program(_, url), "platform.yaml") => {
                let text = with_line(&text, OPENAI, &format!("        url: {url}/v1"));
                with_line(&text, ANTHROPIC, &format!("        url: {url}"))
            }
            _ => text,
        };
        let text = match (image, *path) {
            (Some(image), agent) if is_agent(agent) => {
                with_line(&text, "  image:", &format!("  image: {image}"))
            }
            (Some(image), "platform.yaml") => {
                let text = with_line(&text, EXAMPLE_IMAGE, &format!("        - {image}"));
                let pinned = format!("{DIGESTS} {}", image.contains('@'));
                with_line(&text, DIGESTS, &pinned)
            }
            _ => text,
        };
        ((*path).to_owned(), text)
    };
    state().map(file).collect()
}

/// All files of the example config repo.
fn state() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    STATE.iter().chain(BUILT_IN_PROMPTS)
}

fn is_agent(path: &str) -> bool {
    path.starts_with("agents/")
}

const EXAMPLE_IMAGE: &str = "        - codex-k8s/agent";
const DIGESTS: &str = "    requireImageDigests:";
const ALLOWED: &str = "      allowed: [codex, claude, codex-k8s]";
const OPENAI: &str = "        url: https://api.openai.com/v1";
const ANTHROPIC: &str = "        url: https://api.anthropic.com";

/// The text with the line that begins so replaced.
fn with_line(text: &str, begins: &str, by: &str) -> String {
    let lines = text
        .lines()
        .map(|line| if line.starts_with(begins) { by } else { line });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The secrets of the platform's account.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Writes.
    pub writing: String,
    /// Reads.
    pub reading: String,
}

/// Fills the model: people first, so that their ids are those of `state/`.
pub fn fill(github: &GitHubModel, tokens: &Tokens) -> Result<(), ModelError> {
    for (login, _) in PEOPLE {
        github.add_user(login);
    }
    github.add_organization(ORGANISATION);
    github.add_user(PLATFORM_LOGIN);
    for name in REPOSITORIES {
        github.add_repository(name, &repository(name))?;
    }
    for (repository, title, text) in ISSUES {
        github.open_issue(repository, PERSON, title, text, &[])?;
    }
    github.add_token(PLATFORM_LOGIN, &tokens.writing, &TokenSeed::default())?;
    github.add_token(PLATFORM_LOGIN, &tokens.reading, &TokenSeed::default())
}

fn repository(name: &str) -> RepositorySeed {
    let title = name.rsplit('/').next().unwrap_or(name);
    let readme = format!("# {title}\n\nA small repository to try things in.\n");
    let seed = RepositorySeed::with_readme(&readme)
        .file("src/greeting.txt", "Hello!\n")
        .file("AGENTS.md", "Keep sentences short.\n")
        .permission(PLATFORM_LOGIN, Permission::Write);
    PEOPLE.iter().fold(seed, |seed, (login, permission)| {
        seed.permission(login, *permission)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        desired::load::{load, read_folder},
        domain::ids::CommitSha,
    };

    #[test]
    fn the_program_holds_every_file_of_the_example_as_it_is() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("state");
        let mut found = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
                    found.push((name.to_owned(), std::fs::read_to_string(&path).unwrap()));
                }
            }
        }
        found.sort();
        let mut held: Vec<_> = state()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        held.sort();
        assert_eq!(held, found);
    }

    #[test]
    fn the_config_with_a_real_program_validates() {
        for program in [AgentProgram::Codex, AgentProgram::Claude] {
            let agent = SeededAgent::Program(program, "http://127.0.0.1:9".to_owned());
            let desired = loaded(config_files(&agent, None));
            let agent = desired.agents.values().next().unwrap();
            let cli = desired.cli(agent).unwrap();
            assert_eq!(cli.command[0], program.name());
            let providers = &desired.platform.models.providers;
            assert!(
                providers
                    .iter()
                    .all(|it| it.url.starts_with("http://127.0.0.1:9"))
            );
        }
    }

    fn loaded(files: BTreeMap<String, String>) -> crate::desired::model::Desired {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let files = read_folder(folder.path()).unwrap();
        load(CommitSha::new("0".repeat(40)), files).unwrap()
    }

    #[test]
    fn the_config_with_the_scripted_agent_validates() {
        let files = config_files(&SeededAgent::Scripted(0.5), Some("example/agent:1"));
        let desired = loaded(files);
        let agent = desired.agents.values().next().unwrap();
        assert_eq!(
            agent.command,
            ["codex-k8s", "sandbox-agent", "--seconds", "0.5"]
        );
        assert_eq!(agent.image, "example/agent:1");
    }
}
