//! Every field of the example config is changed there and back: the platform ends where it
//! was, what was at work goes on, and a change that is not allowed names its place and counts
//! for nothing.

use std::{path::Path, sync::Arc};

use codex_k8s::{
    desired::{
        load::{ConfigError, SourceFile, SourceFiles, load, read_folder},
        model::{Desired, schema::any_document_schema},
    },
    domain::{
        ids::{CommitSha, Revision},
        run::RunState,
    },
};
use serde_json::{Value, json};

use super::world::{World, at};
use crate::support::example::of_dev;

/// Passes under the changed config, and again under the old one.
const PASSES: usize = 3;

/// One value in one file, changed.
struct Mutation {
    file: String,
    pointer: String,
    what: String,
    document: Value,
}

/// The example's files as far as the stage `dev` goes: the other stages are more of the same.
fn files() -> SourceFiles {
    let state = Path::new(env!("CARGO_MANIFEST_DIR")).join("state");
    let mut source = read_folder(&state).expect("state/ is readable");
    let files = std::mem::take(&mut source.files).into_iter();
    let cut = files.filter_map(|file| {
        let text = String::from_utf8(file.bytes.clone()).expect("the example is text");
        let bytes = of_dev(&file.path, &text)?.into_bytes();
        Some(SourceFile { bytes, ..file })
    });
    source.files = cut.collect();
    source
}

fn parsed(bytes: &[u8]) -> Value {
    serde_yaml::from_slice(bytes).expect("the example is YAML")
}

/// JSON is YAML as well; pretty, so that lines tell places apart.
fn printed(document: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(document).expect("a document")
}

fn loaded(files: SourceFiles) -> Result<Desired, Vec<ConfigError>> {
    load(CommitSha::new("0".repeat(40)), files)
}

fn load_with(file: &str, document: &Value) -> Result<Desired, Vec<ConfigError>> {
    let mut source = files();
    for one in source.files.iter_mut().filter(|one| one.path == file) {
        one.bytes = printed(document);
    }
    loaded(source)
}

/// Every place in a document, containers included.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    let step = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                out.push(step(key));
                pointers(child, &step(key), out);
            }
        }
        Value::Array(list) => {
            for (index, child) in list.iter().enumerate() {
                out.push(step(&index.to_string()));
                pointers(child, &step(&index.to_string()), out);
            }
        }
        _ => {}
    }
}

/// All words that the schemas allow anywhere as one of several.
fn words(schema: &Value, out: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            let listed = map
                .get("enum")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            out.extend(
                listed
                    .chain(map.get("const"))
                    .filter_map(Value::as_str)
                    .map(str::to_owned),
            );
            map.values().for_each(|child| words(child, out));
        }
        Value::Array(list) => list.iter().for_each(|child| words(child, out)),
        _ => {}
    }
}

/// Other values for one, by its type.
fn others(value: &Value, words: &[String]) -> Vec<(String, Value)> {
    let mut all = vec![json!(null), json!({}), json!([]), json!("")];
    match value {
        Value::String(text) => {
            all.extend([json!(7), json!(true), json!([text]), json!("x".repeat(400))]);
            all.extend([
                json!(format!("{text}-other")),
                json!("../../etc"),
                json!("\u{1}\u{202e}"),
            ]);
            // Words of the same list come near each other; a few of any list are enough.
            let near = words
                .iter()
                .position(|word| word == text)
                .unwrap_or(usize::MAX / 2);
            let near = words
                .iter()
                .enumerate()
                .filter(|(at, _)| at.abs_diff(near) <= 3);
            all.extend(near.map(|(_, word)| json!(word)));
        }
        Value::Number(_) => {
            all.extend([
                json!(0),
                json!(1),
                json!(-1),
                json!(3),
                json!(u64::MAX),
                json!(1.5),
            ]);
            all.push(json!("2"));
        }
        Value::Bool(on) => all.extend([json!(!on), json!("true"), json!(1)]),
        Value::Array(list) => {
            all.push(Value::Array(
                list.iter().chain(list.first()).cloned().collect(),
            ));
            all.push(Value::Array(list.iter().skip(1).cloned().collect()));
            all.push(json!(vec!["x"; 2_000]));
        }
        Value::Object(map) => {
            let mut more = map.clone();
            more.insert("unheardOf".to_owned(), json!(1));
            all.push(Value::Object(more));
        }
        Value::Null => {}
    }
    all.retain(|other| other != value);
    let named = all.into_iter().map(|other| {
        let text: String = other.to_string().chars().take(40).collect();
        (text, other)
    });
    named.collect()
}

fn mutations() -> Vec<Mutation> {
    let mut choices = Vec::new();
    words(&any_document_schema(), &mut choices);
    choices.dedup();
    let mut all = Vec::new();
    let is_yaml = |file: &SourceFile| {
        let extension = Path::new(&file.path).extension();
        extension.is_some_and(|it| it == "yaml")
    };
    for file in files().files.into_iter().filter(is_yaml) {
        let document = parsed(&file.bytes);
        let mut places = Vec::new();
        pointers(&document, "", &mut places);
        for pointer in places {
            for (what, changed) in changes(&document, &pointer, &choices) {
                all.push(Mutation {
                    file: file.path.clone(),
                    pointer: pointer.clone(),
                    what,
                    document: changed,
                });
            }
        }
    }
    all
}

/// A document changed at one place, in all ways.
fn changes(document: &Value, pointer: &str, choices: &[String]) -> Vec<(String, Value)> {
    let value = document.pointer(pointer).expect("it was found there");
    let mut all = Vec::new();
    for (what, other) in others(value, choices) {
        let mut changed = document.clone();
        *changed.pointer_mut(pointer).expect("it was found there") = other;
        all.push((format!("becomes {what}"), changed));
    }
    let mut removed = document.clone();
    if let Some((parent, key)) = pointer.rsplit_once('/')
        && let Some(Value::Object(map)) = removed.pointer_mut(parent)
    {
        map.remove(&key.replace("~1", "/").replace("~0", "~"));
        all.push(("is removed".to_owned(), removed));
    }
    all
}

/// A world with one agent at work, one run finished and nothing left to do.
fn world() -> World {
    let mut world = World::example();
    let mut desired = loaded(files()).expect("the example is valid");
    desired.revision = Some(Revision(1));
    world.desired = Arc::new(desired);
    world.label(at(10), "run:dev", "ada");
    for _ in 0..6 {
        world.pods_work();
        world.pass();
    }
    for _ in 0..12 {
        world.pods_work();
        world.pass();
    }
    world.label(at(11), "run:dev", "ada");
    for _ in 0..6 {
        world.pass();
    }
    let run = world.run_of(at(11)).expect("it has a run").id;
    world.pod_runs(run);
    for _ in 0..6 {
        world.pass();
    }
    assert_eq!(
        world.run(run).state,
        RunState::Running,
        "{}",
        world.show("report")
    );
    world
}

fn state(world: &World) -> String {
    let mut text = String::new();
    for what in [
        "runs", "triggers", "report", "labels", "comments", "actions",
    ] {
        text.push_str(&world.show(what));
    }
    let pods = world.cluster.pods.iter().map(|pod| pod.uid.clone());
    let namespaces = world.cluster.namespaces.iter().map(|row| row.uid.clone());
    text.push_str(&pods.chain(namespaces).collect::<Vec<_>>().join(" "));
    text
}

fn passes(world: &mut World) {
    for _ in 0..PASSES {
        world.pass();
    }
}

/// What is wrong with how a mutation fares, if anything.
fn fares_badly(
    mutation: &Mutation,
    world: &World,
    calm: &str,
    accepted: &mut usize,
) -> Option<String> {
    let mut desired = match load_with(&mutation.file, &mutation.document) {
        Err(errors) => {
            let placed = |error: &ConfigError| {
                !error.file.is_empty() && error.line > 0 && !error.message.is_empty()
            };
            return (errors.is_empty() || !errors.iter().all(placed))
                .then(|| format!("its errors name no place: {errors:?}"));
        }
        Ok(desired) => desired,
    };
    *accepted += 1;
    desired.revision = Some(Revision(2));
    let mut world = world.clone();
    let before = Arc::clone(&world.desired);
    world.desired = Arc::new(desired);
    passes(&mut world);
    let agents = world.cluster.pods.len();
    world.desired = before;
    passes(&mut world);
    if agents == 0 {
        return Some("the agent at work was ended".to_owned());
    }
    let after = state(&world);
    (after != calm).then(|| format!("it is not as before:\n{calm}\n---\n{after}"))
}

#[test]
fn every_field_of_the_config_changed_there_and_back_leaves_everything_as_it_was() {
    let world = world();
    let mut calm = world.clone();
    passes(&mut calm);
    passes(&mut calm);
    let calm = state(&calm);
    let all = mutations();
    let (mut accepted, mut wrong) = (0, Vec::new());
    for mutation in &all {
        if let Some(why) = fares_badly(mutation, &world, &calm, &mut accepted) {
            let Mutation {
                file,
                pointer,
                what,
                ..
            } = mutation;
            wrong.push(format!("{file} {pointer} {what}: {why}"));
        }
    }
    assert!(
        all.len() > 1_000 && accepted > 100,
        "{} mutations, {accepted} accepted",
        all.len()
    );
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        all.len(),
        wrong.join("\n")
    );
}

#[test]
fn slots_lowered_below_what_is_in_use_drain_and_end_nobody() {
    let mut world = world();
    world.label(at(12), "run:dev", "ada");
    for _ in 0..6 {
        world.pass();
    }
    let pods = world.cluster.pods.len();
    assert_eq!(pods, 2, "{}", world.show("report"));
    for slots in [1, 0] {
        world.spec().slots = slots;
        passes(&mut world);
        assert_eq!(world.cluster.pods.len(), pods, "{}", world.show("report"));
    }
    world.label(at(13), "run:dev", "ada");
    for _ in 0..12 {
        world.pods_work();
        world.pass();
    }
    let state = |world: &World, number| world.run_of(at(number)).expect("it has a run").state;
    assert_eq!(
        state(&world, 11),
        RunState::Succeeded,
        "{}",
        world.show("report")
    );
    assert_eq!(state(&world, 12), RunState::Succeeded);
    assert_eq!(state(&world, 13), RunState::Pending);
}
