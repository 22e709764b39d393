//! The prompts that are part of the program: those of the example config repo. They stand in
//! where a platform has none of its own.

use std::sync::LazyLock;

use super::{
    document::{self, Document},
    files::SourceFile,
    objects::Objects,
};
use crate::desired::model::PromptTemplateSpec;

macro_rules! prompts {
    ($($path:literal),* $(,)?) => {
        /// Their paths in a config repo, and their texts.
        pub const BUILT_IN_PROMPTS: &[(&str, &str)] = &[$((
            concat!("prompts/", $path),
            include_str!(concat!("../../../state/prompts/", $path)),
        )),*];
    };
}

prompts![
    "dev/discussion-work.en.md",
    "dev/discussion-work.ru.md",
    "dev/review.en.md",
    "dev/review.ru.md",
    "dev/work.en.md",
    "dev/work.ru.md",
    "em/plan-review.en.md",
    "em/plan-review.ru.md",
    "em/plan-work.en.md",
    "em/plan-work.ru.md",
    "em/release-work.en.md",
    "em/release-work.ru.md",
    "em/rethink-work.en.md",
    "em/rethink-work.ru.md",
    "km/self-improve-review.en.md",
    "km/self-improve-review.ru.md",
    "km/self-improve-work.en.md",
    "km/self-improve-work.ru.md",
    "pm/intake-review.en.md",
    "pm/intake-review.ru.md",
    "pm/intake-work.en.md",
    "pm/intake-work.ru.md",
    "pm/prd-review.en.md",
    "pm/prd-review.ru.md",
    "pm/prd-work.en.md",
    "pm/prd-work.ru.md",
    "pm/vision-review.en.md",
    "pm/vision-review.ru.md",
    "pm/vision-work.en.md",
    "pm/vision-work.ru.md",
    "qa/qa-review.en.md",
    "qa/qa-review.ru.md",
    "qa/qa-work.en.md",
    "qa/qa-work.ru.md",
    "reviewer/doc-audit-review.en.md",
    "reviewer/doc-audit-review.ru.md",
    "reviewer/doc-audit-work.en.md",
    "reviewer/doc-audit-work.ru.md",
    "sa/arch-review.en.md",
    "sa/arch-review.ru.md",
    "sa/arch-work.en.md",
    "sa/arch-work.ru.md",
    "sa/design-review.en.md",
    "sa/design-review.ru.md",
    "sa/design-work.en.md",
    "sa/design-work.ru.md",
    "sre/ops-review.en.md",
    "sre/ops-review.ru.md",
    "sre/ops-work.en.md",
    "sre/ops-work.ru.md",
    "sre/postdeploy-work.en.md",
    "sre/postdeploy-work.ru.md",
];

static TEMPLATES: LazyLock<Vec<Document<PromptTemplateSpec>>> = LazyLock::new(|| {
    let file = |(path, text): &(&str, &str)| {
        document::parse(&SourceFile {
            path: (*path).to_owned(),
            bytes: text.as_bytes().to_vec(),
        })
    };
    let parsed = BUILT_IN_PROMPTS.iter().map(file).collect();
    // That they have no errors is held by a test.
    Objects::from_parsed(parsed, &mut Vec::new()).templates
});

/// The templates that are part of the program, as documents of the platform.
pub(super) fn templates() -> &'static [Document<PromptTemplateSpec>] {
    &TEMPLATES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prompt_of_the_program_is_a_template() {
        assert_eq!(templates().len(), BUILT_IN_PROMPTS.len());
    }
}
