//! What an agent says of its work when it is through: the parts that every answer has, and those
//! that its stage asks for besides. All of it is untrusted text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::LabelName;

/// The names of the parts that every answer may have; a stage's own are called otherwise.
pub const COMMON_PARTS: [&str; 7] = [
    "status",
    "summary",
    "title",
    "tests",
    "questions",
    "requests",
    "explanations",
];

/// What an agent says of its work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What was done, for the pull request and the status comment.
    pub summary: String,
    /// A title for the pull request.
    pub title: Option<String>,
    /// What it tried out, and what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<String>,
    /// What only people can answer. While there are any the work is not settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<String>,
    /// What there is to learn from it, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanations: Vec<Explanation>,
    /// Labels that it asks to have put on the issue. It is a request: people decide it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<LabelName>,
    /// What its stage asks for besides, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, AnswerPart>,
}

/// A decision explained to those who want to learn from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// The file that it is about; none where it is about the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Why this, and why here.
    pub why: String,
    /// What it buys.
    pub gains: String,
    /// What else was considered, and why it is worse.
    pub alternatives: String,
}

/// What an agent said to a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AnswerPart {
    /// A text.
    Text(String),
    /// Several.
    List(Vec<String>),
}

/// A part that a stage asks for, as a run's launch fixes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedPart {
    /// Its key in the answer's object.
    pub name: String,
    /// Its title for people, in the run's language.
    pub title: String,
    /// Whether it is a list.
    #[serde(default)]
    pub list: bool,
    /// Whether a run without it has not done what it was asked.
    #[serde(default)]
    pub required: bool,
}

impl Answer {
    /// The required part that is missing, where one is.
    pub fn missing<'a>(&self, asked: &'a [AskedPart]) -> Option<&'a AskedPart> {
        let mut required = asked.iter().filter(|part| part.required);
        required.find(|part| !self.parts.contains_key(&part.name))
    }

    /// What was said to the parts that were asked for, in their order: title and words.
    pub fn told<'a>(&'a self, asked: &'a [AskedPart]) -> Vec<(&'a str, &'a AnswerPart)> {
        let told = asked.iter();
        told.filter_map(|part| Some((part.title.as_str(), self.parts.get(&part.name)?)))
            .collect()
    }
}
