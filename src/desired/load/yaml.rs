//! YAML twice: as events, which give every place, and as values.
//!
//! The event pass is also the guard: nesting, aliases and duplicate keys are
//! judged there, and a text that fails it is never expanded into values.

use std::collections::BTreeMap;

use granit_parser::{ErrorKind, Event, Options, Parser, ScanError, Span};
use serde::Deserialize;
use serde_json::Value;

use super::error::Code;

/// The deepest nesting that is read. Our kinds need six levels.
const MAX_DEPTH: usize = 64;

/// How many nodes a file may have once its aliases are expanded.
const MAX_NODES: usize = 200_000;

/// How many bytes the pointers of a file's places may take together: long keys
/// around many values would otherwise multiply.
const MAX_POINTER_BYTES: usize = 64 * 1024 * 1024;

/// A place in a file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The line.
    pub(crate) line: usize,
    /// The column, in characters.
    pub(crate) column: usize,
}

/// An error with its place.
#[derive(Debug)]
pub(crate) struct YamlError {
    /// Where.
    pub(crate) place: Place,
    /// The JSON pointer of the node it is about, where known.
    pub(crate) path: String,
    /// Which kind.
    pub(crate) code: Code,
    /// What.
    pub(crate) message: String,
}

/// Where the nodes of a document are, by JSON pointer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// Keys of mappings and items of sequences.
    keys: BTreeMap<String, Place>,
    /// Values.
    values: BTreeMap<String, Place>,
    /// Lines before the YAML text in its file.
    offset: usize,
}

impl Places {
    /// Where a field's key is, or the nearest node around it that has a place.
    pub(crate) fn key(&self, pointer: &str) -> Place {
        self.nearest(&self.keys, pointer)
    }

    /// Where a node's value is, or the nearest node around it that has a place.
    pub(crate) fn value(&self, pointer: &str) -> Place {
        self.nearest(&self.values, pointer)
    }

    fn nearest(&self, map: &BTreeMap<String, Place>, pointer: &str) -> Place {
        let mut pointer = pointer;
        let place = loop {
            if let Some(place) = map.get(pointer).or_else(|| self.values.get(pointer)) {
                break *place;
            }
            match pointer.rfind('/') {
                Some(cut) => pointer = &pointer[..cut],
                None => break Place { line: 1, column: 1 },
            }
        };
        Place {
            line: place.line + self.offset,
            ..place
        }
    }
}

/// One document of a file.
#[derive(Debug)]
pub(crate) struct YamlDocument {
    /// Its value.
    pub(crate) value: Value,
    /// Where its nodes are.
    pub(crate) places: Places,
}

/// Reads all documents of a text; `offset` lines of its file come before it.
///
/// *Errors*: what was found before the parser had to stop. A duplicate key does
/// not stop it, so that the rest of the file is judged as well: documents and
/// errors may come together.
pub(crate) fn read(text: &str, offset: usize) -> (Vec<YamlDocument>, Vec<YamlError>) {
    let mut pass = EventPass::new(offset);
    if let Err(error) = pass.run(text) {
        pass.errors.push(error);
        return (Vec::new(), pass.errors);
    }
    let EventPass {
        documents: places,
        mut errors,
        ..
    } = pass;
    match values(text, offset) {
        Ok(values) if values.len() == places.len() => {
            let pairs = values.into_iter().zip(places);
            let documents = pairs
                .filter(|(value, _)| !value.is_null())
                .map(|(value, places)| YamlDocument { value, places })
                .collect();
            (documents, errors)
        }
        Ok(_) => {
            errors.push(stream_error(
                offset,
                "the documents of this file cannot be told apart",
            ));
            (Vec::new(), errors)
        }
        Err(error) => {
            errors.push(error);
            (Vec::new(), errors)
        }
    }
}

fn stream_error(offset: usize, message: &str) -> YamlError {
    YamlError {
        place: Place {
            line: offset + 1,
            column: 1,
        },
        path: String::new(),
        code: Code::InvalidYaml,
        message: message.to_owned(),
    }
}

fn values(text: &str, offset: usize) -> Result<Vec<Value>, YamlError> {
    serde_yaml::Deserializer::from_str(text)
        .map(Value::deserialize)
        .collect::<Result<_, _>>()
        .map_err(|error| {
            let place = error.location().map_or(
                Place {
                    line: offset + 1,
                    column: 1,
                },
                |location| Place {
                    line: location.line() + offset,
                    column: location.column().max(1),
                },
            );
            YamlError {
                place,
                path: String::new(),
                code: Code::InvalidYaml,
                message: format!("invalid YAML: {error}"),
            }
        })
}

/// Walks the events of a text.
struct EventPass {
    offset: usize,
    documents: Vec<Places>,
    errors: Vec<YamlError>,
    open: Vec<Open>,
    /// Expanded size of each anchored node that is complete.
    anchors: BTreeMap<usize, usize>,
    nodes: usize,
    pointer_bytes: usize,
}

/// A collection that is being read.
struct Open {
    pointer: String,
    anchor: usize,
    /// Nodes counted before it, for its own size.
    nodes_before: usize,
    inside: Inside,
}

/// What is expected next inside a collection.
enum Inside {
    Mapping {
        pending: Option<String>,
        seen: BTreeMap<String, Place>,
    },
    Sequence {
        next: usize,
    },
}

impl EventPass {
    const fn new(offset: usize) -> Self {
        Self {
            offset,
            documents: Vec::new(),
            errors: Vec::new(),
            open: Vec::new(),
            anchors: BTreeMap::new(),
            nodes: 0,
            pointer_bytes: 0,
        }
    }

    fn run(&mut self, text: &str) -> Result<(), YamlError> {
        let mut options = Options::default();
        options.set_emit_comments(false);
        options.flow_nesting_limit = MAX_DEPTH;
        options.block_nesting_limit = MAX_DEPTH;
        for next in Parser::new_from_str_with_options(text, options) {
            let (event, span) = next.map_err(|error| self.scan_error(&error))?;
            self.event(event, span)?;
        }
        Ok(())
    }

    fn scan_error(&self, error: &ScanError) -> YamlError {
        let too_deep = matches!(error.kind(), ErrorKind::RecursionLimitExceeded);
        let marker = error.marker();
        YamlError {
            place: Place {
                line: marker.line() + self.offset,
                column: marker.col() + 1,
            },
            path: self
                .open
                .last()
                .map(|open| open.pointer.clone())
                .unwrap_or_default(),
            code: if too_deep {
                Code::TooDeep
            } else {
                Code::InvalidYaml
            },
            message: if too_deep {
                format!("nested deeper than {MAX_DEPTH} levels")
            } else {
                format!("invalid YAML: {}", error.info())
            },
        }
    }

    fn error(&self, span: Span, path: String, code: Code, message: String) -> YamlError {
        let place = place_of(span);
        YamlError {
            place: Place {
                line: place.line + self.offset,
                ..place
            },
            path,
            code,
            message,
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        match event {
            Event::DocumentStart(..) => {
                self.documents.push(Places {
                    offset: self.offset,
                    ..Places::default()
                });
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(id) => {
                let size = self.anchors.get(&id).copied().unwrap_or(MAX_NODES);
                self.count(size, span, Code::AliasBomb)?;
                self.node(None, span, None)
            }
            Event::Scalar(text, _, anchor, _) => {
                self.count(1, span, Code::TooLarge)?;
                if anchor != 0 {
                    self.anchors.insert(anchor, 1);
                }
                self.node(Some(&text), span, None)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.count(1, span, Code::TooLarge)?;
                self.node(None, span, Some((anchor, Inside::Sequence { next: 0 })))
            }
            Event::MappingStart(_, anchor, _) => {
                self.count(1, span, Code::TooLarge)?;
                self.node(
                    None,
                    span,
                    Some((
                        anchor,
                        Inside::Mapping {
                            pending: None,
                            seen: BTreeMap::new(),
                        },
                    )),
                )
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop()
                    && open.anchor != 0
                {
                    let size = self.nodes - open.nodes_before;
                    self.anchors.insert(open.anchor, size);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, size: usize, span: Span, code: Code) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(size);
        if self.nodes > MAX_NODES {
            let message = format!("the file expands to more than {MAX_NODES} values");
            return Err(self.error(span, String::new(), code, message));
        }
        Ok(())
    }

    /// Takes the memory of a place into account.
    fn keep(&mut self, pointer: &str, span: Span) -> Result<(), YamlError> {
        self.pointer_bytes += pointer.len();
        if self.pointer_bytes > MAX_POINTER_BYTES {
            let message = "too many values below too long keys".to_owned();
            return Err(self.error(span, String::new(), Code::TooLarge, message));
        }
        Ok(())
    }

    /// Records a node that begins: a key of the mapping around it, or a value.
    fn node(
        &mut self,
        scalar: Option<&str>,
        span: Span,
        opens: Option<(usize, Inside)>,
    ) -> Result<(), YamlError> {
        let place = place_of(span);
        let mut duplicate = None;
        let pointer = match self.open.last_mut() {
            None => String::new(),
            Some(open) => match &mut open.inside {
                Inside::Sequence { next } => {
                    let pointer = format!("{}/{next}", open.pointer);
                    *next += 1;
                    pointer
                }
                Inside::Mapping { pending, seen } => {
                    if let Some(pointer) = pending.take() {
                        pointer
                    } else {
                        let Some(key) = scalar else {
                            let path = open.pointer.clone();
                            return Err(self.error(
                                span,
                                path,
                                Code::InvalidYaml,
                                "a key must be plain text".to_owned(),
                            ));
                        };
                        let pointer = format!("{}/{}", open.pointer, escaped(key));
                        if let Some(first) = seen.get(key) {
                            duplicate = Some((pointer.clone(), key.to_owned(), *first));
                        } else {
                            seen.insert(key.to_owned(), place);
                            if let Some(places) = self.documents.last_mut() {
                                places.keys.insert(pointer.clone(), place);
                            }
                        }
                        *pending = Some(pointer);
                        if let Some((pointer, key, first)) = duplicate {
                            let line = first.line + self.offset;
                            let message =
                                format!("duplicate key `{key}`: it is first given in line {line}");
                            let error = self.error(span, pointer, Code::DuplicateKey, message);
                            self.errors.push(error);
                        }
                        return Ok(());
                    }
                }
            },
        };
        self.keep(&pointer, span)?;
        if let Some(places) = self.documents.last_mut() {
            // Of a key given twice the last value is the one that is read.
            places.values.insert(pointer.clone(), place);
        }
        if let Some((anchor, inside)) = opens {
            self.open.push(Open {
                pointer,
                anchor,
                nodes_before: self.nodes - 1,
                inside,
            });
        }
        Ok(())
    }
}

fn place_of(span: Span) -> Place {
    Place {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

/// A key as a token of a JSON pointer.
pub(crate) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
