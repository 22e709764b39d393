//! From a file to documents: envelope, schema, type.
//!
//! A document is judged in three steps, each only when the one before found
//! nothing: its envelope, the generated schema (all errors at once), its type.
//! One with errors still counts as declared, so that references to it are not
//! reported as dangling on top.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::{
    error::{Code, ConfigError},
    files::{SourceFile, is_markdown},
    schema_check,
    suggest::did_you_mean,
    yaml::{self, Places, YamlDocument, YamlError, escaped},
};
use crate::{
    desired::model::{API_VERSION, Kind, LATER_KINDS, ObjectName},
    domain::ids::ProjectKey,
};

/// Where a document stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Outside `projects/`.
    Platform,
    /// Below `projects/KEY/`.
    Project(ProjectKey),
}

impl Scope {
    /// The scope of a file, by its path.
    pub(crate) fn of(path: &str) -> Self {
        let mut parts = path.split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("projects"), Some(key), Some(_)) => Self::Project(ProjectKey::from(key)),
            _ => Self::Platform,
        }
    }
}

/// A document whose envelope is good.
#[derive(Debug)]
pub(crate) struct Raw {
    /// Its file.
    pub(crate) file: String,
    /// Where its nodes are.
    pub(crate) places: Places,
    /// Where it stands.
    pub(crate) scope: Scope,
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its name.
    pub(crate) name: ObjectName,
    /// All of it.
    pub(crate) value: Value,
    /// The text after the front matter of a Markdown file, and the line it begins in.
    pub(crate) body: Option<(String, usize)>,
}

/// A document of a known type.
#[derive(Debug)]
pub(crate) struct Document<T> {
    /// Its file.
    pub(crate) file: String,
    /// Where its nodes are.
    pub(crate) places: Places,
    /// Where it stands.
    pub(crate) scope: Scope,
    /// Its name.
    pub(crate) name: ObjectName,
    /// What it says.
    pub(crate) spec: T,
    /// The line in which a template's text begins.
    pub(crate) body_line: Option<usize>,
}

impl<T> Document<T> {
    /// An error at the value of a field.
    pub(crate) fn error(
        &self,
        path: &[&str],
        code: Code,
        message: impl Into<String>,
    ) -> ConfigError {
        let pointer = pointer(path);
        let place = self.places.value(&pointer);
        ConfigError {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            path: pointer,
            code,
            message: message.into(),
        }
    }

    /// An error at the key of a field.
    pub(crate) fn key_error(
        &self,
        path: &[&str],
        code: Code,
        message: impl Into<String>,
    ) -> ConfigError {
        let pointer = pointer(path);
        let place = self.places.key(&pointer);
        ConfigError {
            line: place.line,
            column: place.column,
            ..self.error(path, code, message)
        }
    }
}

impl Raw {
    /// An error at the value of a node.
    pub(crate) fn error(
        &self,
        pointer: &str,
        code: Code,
        message: impl Into<String>,
    ) -> ConfigError {
        at(&self.file, &self.places, pointer, code, message)
    }

    /// The document as its type, or why it is none.
    pub(crate) fn typed<T: DeserializeOwned>(&self) -> Result<Document<T>, ConfigError> {
        let spec = self.value.get("spec").cloned().unwrap_or_default();
        let spec = serde_path_to_error::deserialize(spec).map_err(|error| {
            let mut pointer = "/spec".to_owned();
            for segment in error.path() {
                match segment {
                    Segment::Seq { index } => pointer = format!("{pointer}/{index}"),
                    Segment::Map { key } => pointer = format!("{pointer}/{}", escaped(key)),
                    Segment::Enum { .. } | Segment::Unknown => {}
                }
            }
            self.error(&pointer, Code::InvalidValue, error.inner().to_string())
        })?;
        Ok(Document {
            file: self.file.clone(),
            places: self.places.clone(),
            scope: self.scope.clone(),
            name: self.name.clone(),
            spec,
            body_line: self.body.as_ref().map(|(_, line)| *line),
        })
    }
}

fn pointer(path: &[&str]) -> String {
    path.iter().fold(String::new(), |pointer, part| {
        format!("{pointer}/{}", escaped(part))
    })
}

fn at(
    file: &str,
    places: &Places,
    pointer: &str,
    code: Code,
    message: impl Into<String>,
) -> ConfigError {
    let place = places.value(pointer);
    ConfigError {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        path: pointer.to_owned(),
        code,
        message: message.into(),
    }
}

/// The documents of a file; those with errors are returned beside them.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Documents whose envelope and schema are good.
    pub(crate) good: Vec<Raw>,
    /// Kind, scope and name of documents that have errors.
    pub(crate) broken: Vec<(Kind, Scope, ObjectName)>,
    /// Names that may be declared by what cannot be read: that of a document
    /// without a known kind, or of the file.
    pub(crate) obscure: Vec<(Scope, String)>,
    /// What is wrong.
    pub(crate) errors: Vec<ConfigError>,
}

/// Reads the documents of a file.
pub(crate) fn parse(file: &SourceFile) -> Parsed {
    let mut parsed = read_file(file);
    if parsed.good.is_empty() && parsed.broken.is_empty() && parsed.obscure.is_empty() {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default();
        parsed
            .obscure
            .push((Scope::of(&file.path), stem.to_owned()));
    }
    parsed
}

fn read_file(file: &SourceFile) -> Parsed {
    let mut parsed = Parsed::default();
    let text = match std::str::from_utf8(&file.bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            parsed.errors.push(not_utf8(file, error.valid_up_to()));
            return parsed;
        }
    };
    let (yaml_text, offset, body) = if is_markdown(&file.path) {
        let Some((front, body, line)) = split_front_matter(text) else {
            let message = "a prompt template begins with front matter between two lines `---`";
            let error = ConfigError::in_file(&file.path, Code::InvalidTemplate, message);
            parsed.errors.push(error);
            return parsed;
        };
        (front, 1, Some((body.to_owned(), line)))
    } else {
        (text, 0, None)
    };
    let (documents, errors) = yaml::read(yaml_text, offset);
    parsed
        .errors
        .extend(errors.into_iter().map(|error| in_file(file, error)));
    for document in documents {
        read_document(file, document, body.clone(), &mut parsed);
    }
    parsed
}

fn in_file(file: &SourceFile, error: YamlError) -> ConfigError {
    ConfigError {
        file: file.path.clone(),
        line: error.place.line,
        column: error.place.column,
        path: error.path,
        code: error.code,
        message: error.message,
    }
}

fn not_utf8(file: &SourceFile, good: usize) -> ConfigError {
    let before = String::from_utf8_lossy(&file.bytes[..good]);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |last| last.chars().count())
        + 1;
    ConfigError {
        line,
        column,
        ..ConfigError::in_file(&file.path, Code::NotUtf8, "the file is not UTF-8")
    }
}

/// Splits a Markdown file into front matter, text, and the line in which the text begins.
fn split_front_matter(text: &str) -> Option<(&str, &str, usize)> {
    let first = text.split_inclusive('\n').next()?;
    if first.trim_end() != "---" {
        return None;
    }
    let mut position = first.len();
    for (index, line) in text[position..].split_inclusive('\n').enumerate() {
        if line.trim_end() == "---" {
            let body = position + line.len();
            return Some((&text[first.len()..position], &text[body..], index + 3));
        }
        position += line.len();
    }
    None
}

fn read_document(
    file: &SourceFile,
    document: YamlDocument,
    body: Option<(String, usize)>,
    parsed: &mut Parsed,
) {
    let name = name_of(&document.value);
    let raw = match envelope(file, document, body) {
        Ok(raw) => raw,
        Err(errors) => {
            parsed
                .obscure
                .extend(name.map(|name| (Scope::of(&file.path), name)));
            return parsed.errors.extend(errors);
        }
    };
    let mut errors = schema_check::check(&raw);
    errors.extend(misplaced(&raw));
    if errors.is_empty() {
        parsed.good.push(raw);
    } else {
        if let (Kind::Project, Scope::Project(key)) = (raw.kind, &raw.scope) {
            // Meant to be the folder's project, whatever it calls itself.
            parsed
                .obscure
                .push((raw.scope.clone(), key.as_str().to_owned()));
        }
        parsed
            .broken
            .push((raw.kind, raw.scope.clone(), raw.name.clone()));
        parsed.errors.extend(errors);
    }
}

fn name_of(value: &Value) -> Option<String> {
    value
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// Reads `apiVersion`, `kind` and `metadata.name`, which all else depends on.
fn envelope(
    file: &SourceFile,
    document: YamlDocument,
    body: Option<(String, usize)>,
) -> Result<Raw, Vec<ConfigError>> {
    let YamlDocument { value, places } = document;
    let error =
        |pointer: &str, code, message: String| at(&file.path, &places, pointer, code, message);
    if !value.is_object() {
        return Err(vec![error(
            "",
            Code::WrongType,
            "a document is a mapping with `apiVersion` and `kind`".into(),
        )]);
    }
    let mut errors = Vec::new();
    match value.get("apiVersion") {
        None => errors.push(error(
            "",
            Code::MissingField,
            "missing field `apiVersion`".into(),
        )),
        Some(Value::String(version)) if version == API_VERSION => {}
        Some(version) => {
            let message =
                format!("unknown apiVersion {version}; this version reads `{API_VERSION}`");
            errors.push(error("/apiVersion", Code::UnknownApiVersion, message));
        }
    }
    let kind = match value.get("kind") {
        None => Err(error("", Code::MissingField, "missing field `kind`".into())),
        Some(Value::String(name)) => name.parse::<Kind>().map_err(|_| {
            if LATER_KINDS.contains(&name.as_str()) {
                error(
                    "/kind",
                    Code::UnsupportedKind,
                    format!("kind {name} is not supported yet"),
                )
            } else {
                let hint = did_you_mean(name, Kind::ALL.iter().map(|kind| kind.name()));
                error(
                    "/kind",
                    Code::UnknownKind,
                    format!("unknown kind `{name}`{hint}"),
                )
            }
        }),
        Some(_) => Err(error("/kind", Code::WrongType, "`kind` is a text".into())),
    };
    let kind = match kind {
        Ok(kind) if errors.is_empty() => kind,
        Ok(_) => return Err(errors),
        Err(error) => {
            errors.push(error);
            return Err(errors);
        }
    };
    let name = ObjectName::new(name_of(&value).unwrap_or_default());
    Ok(Raw {
        file: file.path.clone(),
        scope: Scope::of(&file.path),
        places,
        kind,
        name,
        value,
        body,
    })
}

/// Whether a kind may stand where its document does, and in that form.
fn misplaced(raw: &Raw) -> Option<ConfigError> {
    if raw.body.is_some() && raw.kind != Kind::PromptTemplate {
        let message = format!("a Markdown file holds a PromptTemplate, not {}", raw.kind);
        return Some(raw.error("/kind", Code::WrongPlace, message));
    }
    let Scope::Project(key) = &raw.scope else {
        let message = format!("{} belongs to one project: below `projects/KEY/`", raw.kind);
        let belongs = !raw.kind.allowed_at_root();
        return belongs.then(|| raw.error("/kind", Code::WrongPlace, message));
    };
    if !raw.kind.allowed_in_project() {
        let message = format!(
            "{} is for the whole installation and stands outside `projects/`",
            raw.kind
        );
        return Some(raw.error("/kind", Code::WrongPlace, message));
    }
    if raw.kind == Kind::Project && raw.name.as_str() != key.as_str() {
        let message = format!(
            "below `projects/{key}/` the project's name is `{key}`, not `{}`",
            raw.name
        );
        return Some(raw.error("/metadata/name", Code::WrongPlace, message));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_is_split_from_the_text() {
        let (front, body, line) =
            split_front_matter("---\na: 1\nb: 2\n---\nText\n").expect("front matter");
        assert_eq!((front, body, line), ("a: 1\nb: 2\n", "Text\n", 5));
        assert!(split_front_matter("Text\n").is_none());
        assert!(split_front_matter("---\na: 1\n").is_none());
    }

    #[test]
    fn scope_is_the_folder_below_projects() {
        assert_eq!(
            Scope::of("projects/demo/project.yaml"),
            Scope::Project(ProjectKey::from("demo"))
        );
        assert_eq!(Scope::of("projects/demo.yaml"), Scope::Platform);
        assert_eq!(Scope::of("agents/dev.yaml"), Scope::Platform);
    }
}
