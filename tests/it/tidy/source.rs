//! The project's files: Rust sources as names they use, and every text for word rules.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use syn::visit::{self, Visit};

/// One Rust file.
pub(super) struct Source {
    /// Its path below the project, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Every path that production code names, resolved to `crate::…` where it is ours.
    pub names: Vec<Vec<String>>,
    /// The token texts of macro calls in production code.
    pub macro_texts: Vec<String>,
    /// The names of all macros called, in tests too.
    pub macros: Vec<String>,
    /// String literals of production code.
    pub literals: Vec<String>,
    /// Tests that are ignored without a reason.
    pub ignored: usize,
}

impl Source {
    /// Reads a file's text as Rust.
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut reader = Reader {
            module: module_of(path),
            in_tests: is_test_file(path),
            source: Self {
                path: path.to_owned(),
                text: text.to_owned(),
                names: Vec::new(),
                macro_texts: Vec::new(),
                macros: Vec::new(),
                literals: Vec::new(),
                ignored: 0,
            },
        };
        reader.visit_file(&file);
        reader.source
    }

    /// The room, for files of the library.
    pub(super) fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        let room = below.split('/').next()?;
        (room != "lib.rs" && room != "main.rs").then(|| room.trim_end_matches(".rs"))
    }
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are both the module `a::b`.
fn module_of(path: &str) -> Vec<String> {
    path.trim_start_matches("src/")
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| !matches!(*part, "mod" | "lib"))
        .map(str::to_owned)
        .collect()
}

struct Reader {
    module: Vec<String>,
    in_tests: bool,
    source: Source,
}

impl Reader {
    fn name(&mut self, segments: Vec<String>) {
        if self.in_tests {
            return;
        }
        let supers = segments.iter().take_while(|part| *part == "super").count();
        let mut resolved = segments;
        if supers > 0 {
            let kept = self.module.len().saturating_sub(supers);
            resolved = std::iter::once("crate".to_owned())
                .chain(self.module[..kept].iter().cloned())
                .chain(resolved.into_iter().skip(supers))
                .collect();
        }
        self.source.names.push(resolved);
    }

    fn use_tree(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| {
            let mut path = prefix.to_vec();
            path.push(name.to_string());
            path
        };
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.name(with(&name.ident)),
            syn::UseTree::Rename(rename) => self.name(with(&rename.ident)),
            syn::UseTree::Glob(_) => self.name(prefix.to_vec()),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(prefix, tree);
                }
            }
        }
    }

    fn within(&mut self, tests: bool, work: impl FnOnce(&mut Self)) {
        let before = self.in_tests;
        self.in_tests |= tests;
        work(self);
        self.in_tests = before;
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg_test = || {
            attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|flag| flag == "test")
        };
        attribute.path().is_ident("test") || attribute.path().is_ident("cfg") && is_cfg_test()
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.within(is_for_tests(&item.attrs), |reader| {
            reader.use_tree(&[], &item.tree);
        });
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.within(is_for_tests(&item.attrs), |reader| {
            reader.module.push(item.ident.to_string());
            visit::visit_item_mod(reader, item);
            reader.module.pop();
        });
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let bare = |attribute: &syn::Attribute| matches!(attribute.meta, syn::Meta::Path(_));
        let ignored = item
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("ignore") && bare(attribute));
        self.source.ignored += ignored.count();
        self.within(is_for_tests(&item.attrs), |reader| {
            visit::visit_item_fn(reader, item);
        });
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter();
        self.name(segments.map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(last) = call.path.segments.last() {
            self.source.macros.push(last.ident.to_string());
        }
        if !self.in_tests {
            let text = call.tokens.to_string();
            self.source.macro_texts.push(text.replace(" :: ", "::"));
        }
        visit::visit_macro(self, call);
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        if !self.in_tests {
            self.source.literals.push(literal.value());
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files of library, binary and tests.
pub(super) fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(read_sources)
}

fn read_sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in ["src", "tests", "benches"] {
        walk(&root().join(folder), &mut paths);
    }
    let parsed = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"));
    parsed
        .map(|path| Source::parse(&below_root(&path), &fs::read_to_string(&path).unwrap()))
        .collect()
}

/// All texts of the project with their paths.
pub(super) fn project_texts() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match name.as_str() {
            // What is built, and what the version control keeps for itself.
            "target" | ".git" | ".sandbox" | "Cargo.lock" => {}
            _ if path.is_dir() => walk(&path, &mut paths),
            _ => paths.push(path),
        }
    }
    paths
        .into_iter()
        .filter_map(|path| Some((below_root(&path), fs::read_to_string(&path).ok()?)))
        .collect()
}

fn below_root(path: &Path) -> String {
    let below = path
        .strip_prefix(root())
        .expect("it was found below the root");
    below.to_string_lossy().replace('\\', "/")
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}
