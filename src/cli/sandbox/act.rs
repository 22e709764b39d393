//! Acting in a running sandbox as a person: small requests to the GitHub model's
//! control endpoint, and commits to the config repo.

use std::{fmt, str::FromStr};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{handle::Handle, screen::say};
use crate::sandbox::{
    github::{Action, ReviewState},
    seed::PERSON,
    world::ConfigRepo,
};

/// An issue or pull request, as OWNER/REPO#N.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The repository, as OWNER/REPO.
    pub repository: String,
    /// The number.
    pub number: u64,
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write OWNER/REPO#N";
        let (repository, number) = text.split_once('#').ok_or(FORM)?;
        let number = number.parse().map_err(|_| FORM)?;
        let whole = repository
            .split('/')
            .filter(|part| !part.is_empty())
            .count()
            == 2;
        if !whole || repository.matches('/').count() != 1 {
            return Err(FORM.to_owned());
        }
        Ok(Self {
            repository: repository.to_owned(),
            number,
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.repository, self.number)
    }
}

/// What is acted on, and who acts.
#[derive(Debug, clap::Args)]
pub struct ActArgs {
    /// Issue or pull request
    #[arg(value_name = "OWNER/REPO#N")]
    subject: Subject,
    /// Who does it: ada (admin), grace (may write) or margaret (may only read)
    #[arg(long = "as", value_name = "USER", default_value = PERSON)]
    login: String,
}

/// A label on a subject.
#[derive(Debug, clap::Args)]
pub(super) struct LabelArgs {
    #[command(flatten)]
    act: ActArgs,
    /// The label, such as run:dev or run:dev:revise
    label: String,
}

/// A comment.
#[derive(Debug, clap::Args)]
pub(super) struct CommentArgs {
    #[command(flatten)]
    act: ActArgs,
    /// What it says
    #[arg(long)]
    body: String,
}

/// A review.
#[derive(Debug, clap::Args)]
pub(super) struct ReviewArgs {
    #[command(flatten)]
    act: ActArgs,
    /// Ask for changes
    #[arg(long, conflicts_with = "approve")]
    request_changes: bool,
    /// Approve
    #[arg(long)]
    approve: bool,
    /// What it says
    #[arg(long, default_value = "")]
    body: String,
}

/// A new issue.
#[derive(Debug, clap::Args)]
pub(super) struct OpenArgs {
    /// Where
    #[arg(value_name = "OWNER/REPO")]
    repository: String,
    /// Its title
    #[arg(long)]
    title: String,
    /// Its text
    #[arg(long, default_value = "")]
    body: String,
    /// A label it begins with; can be given more than once
    #[arg(long)]
    label: Vec<String>,
    /// Who opens it
    #[arg(long = "as", value_name = "USER", default_value = PERSON)]
    login: String,
}

pub(super) async fn label(args: LabelArgs) -> anyhow::Result<()> {
    let (done, label) = (
        format!("{} is on {}", args.label, args.act.subject),
        args.label,
    );
    let ActArgs {
        subject: Subject {
            repository: repo,
            number,
        },
        login,
    } = args.act;
    perform(Action::Label {
        repo,
        login,
        number,
        label,
    })
    .await?;
    say(done);
    Ok(())
}

pub(super) async fn unlabel(args: LabelArgs) -> anyhow::Result<()> {
    let (done, label) = (
        format!("{} is off {}", args.label, args.act.subject),
        args.label,
    );
    let ActArgs {
        subject: Subject {
            repository: repo,
            number,
        },
        login,
    } = args.act;
    perform(Action::Unlabel {
        repo,
        login,
        number,
        label,
    })
    .await?;
    say(done);
    Ok(())
}

pub(super) async fn review(args: ReviewArgs) -> anyhow::Result<()> {
    let state = match (args.approve, args.request_changes) {
        (true, _) => ReviewState::Approved,
        (_, true) => ReviewState::ChangesRequested,
        _ => ReviewState::Commented,
    };
    if state != ReviewState::Approved && args.body.is_empty() {
        bail!("a review without approval says something: add --body");
    }
    let done = format!("reviewed {}", args.act.subject);
    let ActArgs {
        subject: Subject {
            repository: repo,
            number,
        },
        login,
    } = args.act;
    perform(Action::Review {
        repo,
        login,
        number,
        state,
        body: args.body,
    })
    .await?;
    say(done);
    Ok(())
}

pub(super) async fn comment(args: CommentArgs) -> anyhow::Result<()> {
    let done = format!("commented on {}", args.act.subject);
    let ActArgs {
        subject: Subject {
            repository: repo,
            number,
        },
        login,
    } = args.act;
    perform(Action::Comment {
        repo,
        login,
        number,
        body: args.body,
    })
    .await?;
    say(done);
    Ok(())
}

pub(super) async fn close(args: ActArgs) -> anyhow::Result<()> {
    let done = format!("closed {}", args.subject);
    let ActArgs {
        subject: Subject {
            repository: repo,
            number,
        },
        login,
    } = args;
    perform(Action::Close {
        repo,
        login,
        number,
    })
    .await?;
    say(done);
    Ok(())
}

pub(super) async fn reopen(args: ActArgs) -> anyhow::Result<()> {
    let done = format!("reopened {}", args.subject);
    let ActArgs {
        subject: Subject {
            repository: repo,
            number,
        },
        login,
    } = args;
    perform(Action::Reopen {
        repo,
        login,
        number,
    })
    .await?;
    say(done);
    Ok(())
}

pub(super) async fn merge(args: ActArgs) -> anyhow::Result<()> {
    let done = format!("merged {}", args.subject);
    let ActArgs {
        subject: Subject {
            repository: repo,
            number,
        },
        login,
    } = args;
    perform(Action::Merge {
        repo,
        login,
        number,
    })
    .await?;
    say(done);
    Ok(())
}

pub(super) async fn open(args: OpenArgs) -> anyhow::Result<()> {
    let made = perform(Action::Open {
        repo: args.repository.clone(),
        login: args.login,
        title: args.title,
        body: args.body,
        labels: args.label,
    })
    .await?;
    say(format_args!(
        "opened {}#{}",
        args.repository, made["number"]
    ));
    Ok(())
}

pub(super) fn config_break() -> anyhow::Result<()> {
    let handle = Handle::find()?;
    let commit = ConfigRepo::at(&handle.config)
        .break_it()
        .context("commit to the config repo")?;
    say(format_args!(
        "committed {commit}: it has errors, so the last good commit stays in force"
    ));
    say(format_args!(
        "see what it gets:\n  tail {}",
        handle.log.display()
    ));
    Ok(())
}

pub(super) fn config_fix() -> anyhow::Result<()> {
    let handle = Handle::find()?;
    let commit = ConfigRepo::at(&handle.config)
        .mend_it()
        .context("commit to the config repo")?;
    say(format_args!(
        "committed {commit}: it is good, and applies at once"
    ));
    Ok(())
}

pub(super) async fn status() -> anyhow::Result<()> {
    let handle = Handle::find()?;
    let asked = reqwest::Client::new()
        .get(format!("{}/_model/state", handle.github))
        .bearer_auth(&handle.control_secret);
    let state = answer(asked).await?;
    for repository in state["repositories"].as_array().into_iter().flatten() {
        say(repository["name"].as_str().unwrap_or_default());
        for issue in repository["issues"].as_array().into_iter().flatten() {
            say(issue_line(issue));
        }
    }
    say(format_args!(
        "\nstaff API {}\nmetrics   {}/metrics\nlog       {}",
        handle.api,
        handle.ops,
        handle.log.display()
    ));
    Ok(())
}

fn issue_line(issue: &Value) -> String {
    let text = |name: &str| issue[name].as_str().unwrap_or_default();
    let labels = issue["labels"].as_array().into_iter().flatten();
    let labels: Vec<_> = labels.filter_map(Value::as_str).collect();
    let pull = match issue["pull"]["head"].as_str() {
        Some(head) => format!(" (pull request from {head})"),
        None => String::new(),
    };
    format!(
        "  #{} {} [{}] {}{pull}",
        issue["number"],
        text("state"),
        labels.join(", "),
        text("title")
    )
}

/// Prints the settings as a shell reads them.
pub(super) fn env() -> anyhow::Result<()> {
    for (name, value) in Handle::find()?.settings {
        say(format_args!(
            "export {name}='{}'",
            value.replace('\'', r"'\''")
        ));
    }
    Ok(())
}

async fn perform(action: Action) -> anyhow::Result<Value> {
    let handle = Handle::find()?;
    let asked = reqwest::Client::new()
        .post(format!("{}/_model/actions", handle.github))
        .bearer_auth(&handle.control_secret)
        .json(&action);
    answer(asked).await
}

async fn answer(asked: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let response = asked.send().await.context("reach the sandbox")?;
    let status = response.status();
    let body: Value = response.json().await.context("read the sandbox's answer")?;
    if !status.is_success() {
        bail!(
            "the sandbox refuses: {}",
            body["message"].as_str().unwrap_or(status.as_str())
        );
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_owner_slash_repo_hash_number() {
        let subject: Subject = "example-org/hello#12".parse().unwrap();
        assert_eq!(subject.to_string(), "example-org/hello#12");
        for bad in ["hello#1", "a/b", "a/b#x", "a/b/c#1", "/b#1"] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }
}
