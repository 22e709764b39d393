//! Reads variables from their sources and collects what is wrong with them.

use std::{collections::BTreeMap, fmt::Display, path::Path, str::FromStr};

use secrecy::SecretString;

use super::{
    error::{Problem, SettingsError},
    source::{self, Sources},
    variables::{self, Variable},
};

/// The longest secret that is read from a file.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Reads variables and keeps the problems met so far.
#[derive(Debug)]
pub struct Reader<'a> {
    sources: &'a Sources,
    file: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Opens the sources; reads the file, if there is one, and refuses its unknown keys.
    pub fn new(sources: &'a Sources) -> Self {
        let mut problems = Vec::new();
        let file = match &sources.file {
            Some(path) => source::read_file(path, &mut problems),
            None => BTreeMap::new(),
        };
        for key in file.keys().filter(|key| variables::of_key(key).is_none()) {
            problems.push(Problem {
                place: key.clone(),
                message: "the settings file has no such key".to_owned(),
            });
        }
        Self {
            sources,
            file,
            problems,
        }
    }

    /// The value, or its default, or a problem.
    pub fn required<T>(&mut self, variable: &Variable) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        match self.text(variable) {
            Text::Given(text) => self.parsed(variable, &text),
            Text::Absent => {
                self.note_missing(variable);
                None
            }
            Text::Broken => None,
        }
    }

    /// The value if it is given. The outer `None` means that a problem was noted.
    pub fn optional<T>(&mut self, variable: &Variable) -> Option<Option<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        match self.text(variable) {
            Text::Given(text) => self.parsed(variable, &text).map(Some),
            Text::Absent => Some(None),
            Text::Broken => None,
        }
    }

    /// The secret, from the variable or from the file it names, or a problem.
    pub fn required_secret(&mut self, variable: &Variable) -> Option<SecretString> {
        let secret = self.optional_secret(variable)?;
        if secret.is_none() {
            self.note_missing(variable);
        }
        secret
    }

    /// The secret if it is given. The outer `None` means that a problem was noted.
    pub fn optional_secret(&mut self, variable: &Variable) -> Option<Option<SecretString>> {
        match self.text(variable) {
            Text::Given(text) => Some(Some(SecretString::from(text))),
            Text::Absent => Some(None),
            Text::Broken => None,
        }
    }

    /// The comma-separated values; none where nothing is given.
    pub fn list<T>(&mut self, variable: &Variable) -> Option<Vec<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = match self.text(variable) {
            Text::Given(text) => text,
            Text::Absent => return Some(Vec::new()),
            Text::Broken => return None,
        };
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| self.parsed(variable, item))
            .collect()
    }

    /// Notes that a variable's value is wrong.
    pub fn note(&mut self, variable: &Variable, message: impl Into<String>) {
        self.problems.push(Problem {
            place: self.place(variable),
            message: message.into(),
        });
    }

    /// The part that was read, if nothing was wrong.
    pub fn finish<T>(self, part: Option<T>) -> Result<T, SettingsError> {
        match part {
            Some(part) if self.problems.is_empty() => Ok(part),
            _ => Err(SettingsError {
                problems: self.problems,
            }),
        }
    }

    fn parsed<T>(&mut self, variable: &Variable, text: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) if variable.secret => {
                self.note(variable, "not valid (the value is not shown)");
                None
            }
            Err(error) => {
                self.note(variable, format!("`{text}` is not valid: {error}"));
                None
            }
        }
    }

    fn note_missing(&mut self, variable: &Variable) {
        let also = if variable.secret {
            format!(", {}_FILE", variable.name)
        } else {
            String::new()
        };
        self.problems.push(Problem {
            place: variable.name.to_owned(),
            message: format!(
                "required; set it{also} or `{}` in the settings file",
                variable.key
            ),
        });
    }

    /// Environment before file; an empty variable counts as not set.
    fn text(&mut self, variable: &Variable) -> Text {
        let set = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
        let file_name = format!("{}_FILE", variable.name);
        let file_key = format!("{}File", variable.key);
        let environment = &self.sources.environment;
        let layers = [
            (
                set(environment.get(variable.name)),
                set(environment.get(&file_name)),
            ),
            (
                set(self.file.get(variable.key)),
                set(self.file.get(&file_key)),
            ),
        ];
        for layer in layers {
            match layer {
                (Some(_), Some(_)) if variable.secret => {
                    self.note(variable, "given both as a value and as a file");
                    return Text::Broken;
                }
                (Some(text), _) => return Text::Given(text),
                (None, Some(path)) if variable.secret => {
                    return self.secret_file(variable, Path::new(&path));
                }
                (None, _) => {}
            }
        }
        variable
            .default
            .map_or(Text::Absent, |text| Text::Given(text.to_owned()))
    }

    fn secret_file(&mut self, variable: &Variable, path: &Path) -> Text {
        let read = std::fs::metadata(path).and_then(|metadata| {
            if metadata.len() > MAX_SECRET_BYTES {
                return Err(std::io::Error::other("the file is too large for a secret"));
            }
            std::fs::read_to_string(path)
        });
        match read {
            Ok(text) if text.trim().is_empty() => {
                self.note(variable, format!("`{}` is empty", path.display()));
                Text::Broken
            }
            Ok(text) => Text::Given(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                self.note(
                    variable,
                    format!("cannot read `{}`: {error}", path.display()),
                );
                Text::Broken
            }
        }
    }

    /// Where the value that counts was said.
    fn place(&self, variable: &Variable) -> String {
        let in_environment = [variable.name.to_owned(), format!("{}_FILE", variable.name)]
            .into_iter()
            .find(|name| {
                self.sources
                    .environment
                    .get(name)
                    .is_some_and(|text| !text.is_empty())
            });
        let in_file = || {
            [variable.key.to_owned(), format!("{}File", variable.key)]
                .into_iter()
                .find(|key| self.file.contains_key(key))
        };
        in_environment
            .or_else(in_file)
            .unwrap_or_else(|| variable.name.to_owned())
    }
}

/// What the sources say of one variable.
enum Text {
    Given(String),
    Absent,
    Broken,
}
