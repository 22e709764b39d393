//! What honest agents say.

use std::collections::BTreeMap;

use codex_k8s::domain::answer::{AnswerPart, AskedPart};

/// Something to each part that a stage asks for besides.
pub(crate) fn told(asked: &[AskedPart]) -> BTreeMap<String, AnswerPart> {
    let said = |part: &AskedPart| {
        let words = format!("Its {}, seen by @grace.", part.name);
        if part.list {
            AnswerPart::List(vec![words])
        } else {
            AnswerPart::Text(words)
        }
    };
    let asked = asked.iter();
    asked.map(|part| (part.name.clone(), said(part))).collect()
}
