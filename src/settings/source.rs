//! Where settings come from: the environment as one map and the file as flat keys.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_yaml::Value;

use super::{error::Problem, variables};

/// The largest settings file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The inputs of a load. Tests build it from maps; the process builds it once.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The settings file, if one was named.
    pub file: Option<PathBuf>,
    /// The environment's variables.
    pub environment: BTreeMap<String, String>,
}

impl Sources {
    /// The process's own environment and the file that `--config` or
    /// `CODEXK8S_CONFIG` names.
    pub fn from_process(file: Option<PathBuf>) -> Self {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(variables::PREFIX))
            .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
            .collect();
        let named = environment
            .get(variables::CONFIG_FILE)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        Self {
            file: file.or(named),
            environment,
        }
    }

    /// Variables with our prefix that mean nothing to us: worth a warning. They are no
    /// error, because a cluster puts variables of its own into every pod.
    pub fn unknown_variables(&self) -> Vec<&str> {
        self.environment
            .keys()
            .map(String::as_str)
            .filter(|name| name.starts_with(variables::PREFIX) && *name != variables::CONFIG_FILE)
            .filter(|name| variables::of_name(name).is_none())
            .collect()
    }
}

/// The file's values by dotted key, such as `database.url`.
pub(super) fn read_file(path: &Path, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    let place = path.display().to_string();
    let mut note = |message: String| {
        problems.push(Problem {
            place: place.clone(),
            message,
        });
    };
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) => {
            note(format!("cannot read the settings file: {error}"));
            return flat;
        }
    };
    if size > MAX_FILE_BYTES {
        note(format!(
            "the settings file has {size} bytes, the limit is {MAX_FILE_BYTES}"
        ));
        return flat;
    }
    let parsed = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the settings file: {error}"))
        .and_then(|text| {
            serde_yaml::from_str::<Value>(&text).map_err(|error| format!("not YAML: {error}"))
        });
    match parsed {
        Ok(Value::Null) => {}
        Ok(value @ Value::Mapping(_)) => flatten("", &value, &mut flat, &mut note),
        Ok(_) => note("the settings file must be a mapping".to_owned()),
        Err(message) => note(message),
    }
    flat
}

fn flatten(
    key: &str,
    value: &Value,
    flat: &mut BTreeMap<String, String>,
    note: &mut impl FnMut(String),
) {
    match value {
        Value::Mapping(mapping) => {
            for (name, value) in mapping {
                let Some(name) = name.as_str() else {
                    note(format!("a key below `{key}` is not text"));
                    continue;
                };
                let inner = if key.is_empty() {
                    name.to_owned()
                } else {
                    format!("{key}.{name}")
                };
                flatten(&inner, value, flat, note);
            }
        }
        Value::Sequence(items) => {
            let texts: Option<Vec<_>> = items.iter().map(scalar).collect();
            match texts {
                Some(texts) => {
                    flat.insert(key.to_owned(), texts.join(","));
                }
                None => note(format!("`{key}` must be a list of single values")),
            }
        }
        Value::Tagged(_) => note(format!("`{key}` must not carry a YAML tag")),
        // A key without a value is a key that is not there.
        Value::Null => {}
        _ => {
            if let Some(text) = scalar(value) {
                flat.insert(key.to_owned(), text);
            }
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        _ => None,
    }
}

/// Whether people want colours in what they see: `NO_COLOR` says no.
pub fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
