//! The scripted agent: an external command like any other. It reads the prompt,
//! takes its time, makes a real and deterministic change in the checked-out
//! repository, and writes its result file.
//!
//! A run's change is there once, however often the command is started for it;
//! a further run on the same issue makes a further change.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use serde_json::{Map, Value, json};

/// What the scripted agent is told.
#[derive(Debug, Clone, Args)]
pub struct ScriptedAgent {
    /// Folder to change.
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// Seconds to work.
    #[arg(long, env = "CODEXK8S_SANDBOX_AGENT_SECONDS", default_value_t = 2.0)]
    pub seconds: f64,
    /// Exit with this code after the work, as an agent that fails.
    #[arg(long, env = "CODEXK8S_SANDBOX_AGENT_EXIT", default_value_t = 0)]
    pub exit: u8,
    /// The run.
    #[arg(long, env = "CODEXK8S_RUN_ID")]
    pub run: String,
    /// What the run does.
    #[arg(long, env = "CODEXK8S_RUN_KIND", default_value = "dev")]
    pub kind: String,
    /// The issue.
    #[arg(long, env = "CODEXK8S_ISSUE_NUMBER")]
    pub issue: i64,
    /// Its title.
    #[arg(long, env = "CODEXK8S_ISSUE_TITLE", default_value = "")]
    pub title: String,
    /// Where to write the result.
    #[arg(long, env = "CODEXK8S_RESULT_FILE")]
    pub result_file: Option<PathBuf>,
}

/// Steps of the work, one line of progress each.
const STEPS: [&str; 4] = [
    "reading the issue",
    "looking through the repository",
    "writing the change",
    "checking the change",
];

/// Does the work: prompt in, progress out.
pub fn work(
    agent: &ScriptedAgent,
    prompt: &mut impl Read,
    progress: &mut impl Write,
) -> anyhow::Result<()> {
    let mut text = String::new();
    prompt
        .read_to_string(&mut text)
        .context("read the prompt")?;
    writeln!(progress, "got a prompt of {} lines", text.lines().count())?;
    let seconds = agent.seconds.clamp(0.0, 3600.0);
    // Short sleeps keep the progress lines coming while the work is long.
    let rounds = (seconds / 5.0).ceil().max(1.0);
    let pause = Duration::from_secs_f64(seconds / rounds / 4.0);
    for step in STEPS {
        writeln!(progress, "{step}")?;
        progress.flush()?;
        let mut left = rounds;
        while left >= 1.0 {
            thread::sleep(pause);
            left -= 1.0;
        }
    }
    let summary = change(agent)?;
    writeln!(progress, "{summary}")?;
    if let Some(path) = &agent.result_file {
        let title = match agent.title.as_str() {
            "" => format!("Work on issue {}", agent.issue),
            title => title.to_owned(),
        };
        let mut result = asked(&text);
        for (name, said) in [
            ("status", "completed"),
            ("summary", &summary),
            ("title", &title),
        ] {
            result.insert(name.to_owned(), json!(said));
        }
        fs::write(path, Value::Object(result).to_string())
            .with_context(|| format!("write the result to {}", path.display()))?;
    }
    anyhow::ensure!(agent.exit == 0, "told to fail");
    Ok(())
}

/// What the prompt asks for beside the usual, said as its form shows it.
fn asked(prompt: &str) -> Map<String, Value> {
    let block = prompt.split_once("<!-- block: answer -->");
    let form = block.and_then(|(_, block)| block.split_once("```json"));
    let form = form.and_then(|(_, form)| form.split_once("```"));
    let form = form.and_then(|(form, _)| serde_json::from_str(form).ok());
    let mut form: Map<String, Value> = form.unwrap_or_default();
    for (name, value) in &mut form {
        let said = format!("As far as a script can tell: {name}.");
        *value = match value {
            Value::Array(_) => json!([said]),
            _ => json!(said),
        };
    }
    form
}

/// Appends this run's line to the issue's file, once.
fn change(agent: &ScriptedAgent) -> anyhow::Result<String> {
    let name = format!("work/issue-{}.md", agent.issue);
    let path = agent.dir.join(&name);
    let before = fs::read_to_string(&path).unwrap_or_default();
    let run: String = agent.run.chars().take(8).collect();
    let mark = format!("(run {run})");
    if before.contains(&mark) {
        return Ok(format!("{name} has this run's line already."));
    }
    let mut after = before.clone();
    if after.is_empty() {
        after = format!("# Issue {}: {}\n\n", agent.issue, agent.title);
    }
    let step = before.lines().filter(|line| line.starts_with("- ")).count() + 1;
    writeln!(after, "- Step {step} by `{}` {mark}", agent.kind)
        .expect("text in memory takes what is written");
    let folder = agent.dir.join("work");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    fs::write(&path, after).with_context(|| format!("write {}", path.display()))?;
    Ok(if step == 1 {
        format!("Added {name} with a first step.")
    } else {
        format!("Added step {step} to {name}, as asked in review.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(dir: &std::path::Path, run: &str) -> ScriptedAgent {
        ScriptedAgent {
            dir: dir.to_owned(),
            seconds: 0.0,
            exit: 0,
            run: run.to_owned(),
            kind: "dev".to_owned(),
            issue: 7,
            title: "Greet people".to_owned(),
            result_file: Some(dir.join("result.json")),
        }
    }

    fn run(agent: &ScriptedAgent) -> String {
        let mut progress = Vec::new();
        let prompt = "Do it.\n<!-- block: answer -->\n```json\n{\"items\": [\"\"]}\n```\n";
        work(agent, &mut prompt.as_bytes(), &mut progress).unwrap();
        fs::read_to_string(agent.dir.join("work/issue-7.md")).unwrap()
    }

    #[test]
    fn a_run_changes_the_file_once_and_a_further_run_again() {
        let dir = tempfile::tempdir().unwrap();
        let first = run(&agent(dir.path(), "11111111-aaaa"));
        assert_eq!(run(&agent(dir.path(), "11111111-aaaa")), first);
        let second = run(&agent(dir.path(), "22222222-bbbb"));
        assert!(second.starts_with(&first) && second.contains("- Step 2"));
        let result = fs::read_to_string(dir.path().join("result.json")).unwrap();
        assert!(result.contains("\"title\":\"Greet people\""));
        assert!(result.contains("\"items\":[\"As far"), "{result}");
    }
}
