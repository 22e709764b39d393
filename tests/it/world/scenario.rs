//! What a scenario is: a config, agents, and a script of people.

use std::{collections::BTreeMap, time::Duration};

use codex_k8s::{
    domain::run::RunState,
    sandbox::{
        github::ReviewState,
        seed::{PERSON, REPOSITORY, SeededAgent, config_files},
    },
};

use super::{outside::Outside, people::Deed, pods::Work};
use crate::support::example::Cut;

/// When people act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// As soon as the platform reads the forge.
    Bound,
    /// When the newest run on a subject is in a state.
    Run(u64, RunState),
    /// When the newest run on a subject is over, its environment included.
    Over(u64),
    /// When nothing moves any more.
    Quiet,
}

/// What people do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Do {
    /// Put a label on.
    Label(&'static str, u64, &'static str),
    /// Put a label on several in the same moment.
    Labels(&'static str, Vec<u64>, &'static str),
    /// Take a label off.
    Unlabel(&'static str, u64, &'static str),
    /// Ask for changes of a pull request.
    Review(&'static str, u64),
    /// Ask for changes one after the other in the same moment.
    Reviews(Vec<&'static str>, u64),
    /// Close an issue or pull request.
    Close(&'static str, u64),
    /// Race the platform at the forge.
    People(Deed),
    /// Commit the config with these texts put for others: (file, from, to).
    Config(Vec<(&'static str, &'static str, &'static str)>),
    /// The agents on a subject go on like this from now on.
    Agents(u64, Work),
    /// The node kills the pods at work on a subject's run.
    KillPods(u64),
    /// Wait.
    Wait(Duration),
}

/// A scenario.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The stages of the example that its world has.
    pub(crate) cut: Cut,
    /// Whether the second repository is bound as well: most scenarios are about one, and what a
    /// binding costs, each of their worlds would pay.
    pub(crate) both: bool,
    /// Changes of the example config from the beginning: (file, from, to).
    pub(crate) config: Vec<(&'static str, &'static str, &'static str)>,
    /// What agents do by subject and attempt; all others deliver.
    pub(crate) agents: Vec<(u64, i32, Work)>,
    /// What people do, in this order.
    pub(crate) people: Vec<(When, Do)>,
    /// What the end must show: these lines, among others.
    pub(crate) ends_with: Vec<&'static str>,
    /// How many pull requests there are in the end.
    pub(crate) pulls: usize,
}

impl Scenario {
    /// The config repo's files in the beginning.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let files = config_files(&SeededAgent::Scripted(0.0), None).into_iter();
        let files =
            files.filter(|(path, _)| self.both || !path.ends_with("repositories/notes.yaml"));
        let files = files.filter_map(|(path, text)| Some((self.cut.of(&path, &text)?, path)));
        let files = files.map(|(text, path)| (path, text));
        changed(files.collect(), &self.config)
    }
}

/// Files with texts put for others; each must have been there.
pub(crate) fn changed(
    mut files: BTreeMap<String, String>,
    changes: &[(&str, &str, &str)],
) -> BTreeMap<String, String> {
    for (path, from, to) in changes {
        let text = files.get_mut(*path).expect("the example has the file");
        assert!(text.contains(from), "{path} has no {from:?}:\n{text}");
        *text = text.replace(from, to);
    }
    files
}

impl Do {
    /// Does it at the forge or the config repo; the driver does the rest.
    pub(crate) fn at(&self, outside: &Outside, files: &mut BTreeMap<String, String>) {
        let forge = &outside.github;
        match self {
            Self::Label(who, on, label) => forge.add_label(REPOSITORY, *on, who, label).unwrap(),
            Self::Labels(who, on, label) => {
                for number in on {
                    forge.add_label(REPOSITORY, *number, who, label).unwrap();
                }
            }
            // Where the platform was first, the label is off already.
            Self::Unlabel(who, on, label) => drop(forge.remove_label(REPOSITORY, *on, who, label)),
            Self::Review(who, on) => {
                let state = ReviewState::ChangesRequested;
                let body = "Shorter, please.";
                forge.review(REPOSITORY, *on, who, state, body).unwrap();
            }
            Self::Reviews(who, on) => {
                for who in who {
                    Self::Review(who, *on).at(outside, files);
                }
            }
            Self::Close(who, on) => forge.close(REPOSITORY, *on, who).unwrap(),
            Self::Config(changes) => {
                *files = changed(files.clone(), changes);
                let texts = files.iter();
                let texts = texts.map(|(path, text)| (path.as_str(), text.as_str()));
                outside.config.commit("Change the config", texts).unwrap();
            }
            Self::People(deed) => deed.at(outside),
            Self::Agents(..) | Self::KillPods(_) | Self::Wait(_) => {}
        }
    }
}

/// Labels as the person of the example does.
pub(crate) fn label(on: u64, label: &'static str) -> Do {
    Do::Label(PERSON, on, label)
}
