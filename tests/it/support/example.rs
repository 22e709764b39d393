//! The example organisation, cut down to the stages that a world needs.

/// What stages need of the example: their names and who does them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) stages: &'static [&'static str],
    pub(crate) agent: &'static str,
}

/// One stage.
pub(crate) const DEV: Cut = Cut {
    stages: &["dev"],
    agent: "dev",
};

/// Two stages, of which the first may ask for the second.
pub(crate) const INTAKE: Cut = Cut {
    stages: &["intake", "vision"],
    agent: "pm",
};

/// A stage, and one that discusses it before.
pub(crate) const TALK: Cut = Cut {
    stages: &["dev", "discussion"],
    agent: "dev",
};

/// A stage, and one that takes work back.
pub(crate) const BACK: Cut = Cut {
    stages: &["plan", "rethink"],
    agent: "em",
};

/// A file of `state/` as far as the stage `dev` goes; `None` for one that serves other stages
/// alone. They are more of the same, and every world would pay for them.
pub(crate) fn of_dev(path: &str, text: &str) -> Option<String> {
    DEV.of(path, text)
}

impl Cut {
    /// A file of `state/` as far as these stages go; `None` for one that serves others alone.
    pub(crate) fn of(&self, path: &str, text: &str) -> Option<String> {
        let of_an_agent = path.starts_with("agents/") || path.starts_with("prompts/");
        let own = |name: &str| name.starts_with(&format!("prompts/{}/", self.agent));
        let with = |field: &str| {
            let lines = self.stages.iter().map(|stage| format!("{field}: {stage}"));
            items_with(text, &lines.collect::<Vec<_>>())
        };
        match path {
            "stages.yaml" => Some(with("kind")),
            "labels.yaml" => Some(with("stage")),
            "policies/approvals.yaml" => Some(with("target")),
            "projects/demo/project.yaml" if self.agent != "dev" => {
                Some(text.replace("    perAgent:\n      dev: 2\n", ""))
            }
            _ if path == format!("agents/{}.yaml", self.agent) => Some(text.to_owned()),
            _ if own(path) => {
                let file = path.rsplit('/').next().unwrap_or_default();
                let is = |stage: &&str| file.starts_with(*stage);
                // The developer's own stage is left out of the files' names.
                let kept = self.agent == "dev" && ["work", "review"].iter().any(is)
                    || self.stages.iter().any(is);
                kept.then(|| text.to_owned())
            }
            _ if of_an_agent => None,
            _ => Some(text.to_owned()),
        }
    }
}

/// The text with those items of its one list that have one of these lines, and all that is no
/// item.
fn items_with(text: &str, lines: &[String]) -> String {
    let mut kept = String::new();
    let mut item = String::new();
    for one in text.split_inclusive('\n') {
        let begins = one.starts_with("    - ");
        let goes_on = !item.is_empty() && one.starts_with("     ");
        if !goes_on {
            keep(&mut kept, &mut item, lines);
        }
        if begins || goes_on {
            item.push_str(one);
        } else {
            kept.push_str(one);
        }
    }
    keep(&mut kept, &mut item, lines);
    kept
}

fn keep(kept: &mut String, item: &mut String, lines: &[String]) {
    let is = |one: &str| {
        let one = one.trim_start_matches([' ', '-']);
        lines.iter().any(|line| one == line)
    };
    if item.lines().any(is) {
        kept.push_str(item);
    }
    item.clear();
}
