//! The reference page of the variables, generated from their registry.

use std::fmt::Write as _;

use super::variables::{ALL, CONFIG_FILE, Variable};

/// The text of `docs/reference/environment.md`.
pub fn environment_page() -> String {
    let mut page = format!(
        "# Process settings\n\n\
         This page is generated from the registry in `src/settings/variables.rs`; a test keeps the two equal.\n\n\
         Settings come from a YAML file, named by `--config` or `{CONFIG_FILE}`, and from the environment.\n\
         A variable wins over the file, and an empty variable counts as not set.\n\
         A secret can also be read from a file: append `_FILE` to the variable or `File` to the key.\n\
         Unknown keys in the file are errors, and all problems are reported together.\n\
         Times are written like `1.5s`, `30s`, `5m` or `2h`; their defaults stand for the profiles production and sandbox.\n"
    );
    let mut section = "";
    for variable in ALL {
        let group = variable
            .key
            .split_once('.')
            .map_or("general", |(group, _)| group);
        if group != section {
            section = group;
            write!(
                page,
                "\n## {section}\n\n| variable | key | default | meaning |\n|---|---|---|---|\n"
            )
            .expect("a String takes every write");
        }
        page.push_str(&row(variable));
    }
    page
}

fn row(variable: &Variable) -> String {
    let default = match (variable.default, variable.derived) {
        (Some(value), _) => format!("`{value}`"),
        (None, Some(words)) => words.to_owned(),
        (None, None) => "–".to_owned(),
    };
    let secret = if variable.secret { " (secret)" } else { "" };
    format!(
        "| `{}`{secret} | `{}` | {default} | {} |\n",
        variable.name,
        variable.key,
        variable.help.replace('|', "\\|")
    )
}
