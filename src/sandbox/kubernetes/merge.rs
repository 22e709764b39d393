//! Server-side apply and merge patch on plain JSON.
//!
//! Simpler than Kubernetes' own: lists are atomic, and a manager's fields are
//! what it last applied. That is enough for one manager per field, for fields
//! that vanish from a configuration, and for conflicts between managers.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What each field manager last said, by its name.
pub(super) type Managers = BTreeMap<String, Value>;

/// Applies `config` for `manager` to `live`. Without `force`, fields that
/// another manager holds at another value come back as the conflict.
pub(super) fn apply(
    live: &mut Value,
    managers: &mut Managers,
    manager: &str,
    config: &Value,
    force: bool,
) -> Result<(), Vec<String>> {
    let mut conflicts = Vec::new();
    for (name, theirs) in managers.iter().filter(|(name, _)| *name != manager) {
        let mut paths = Vec::new();
        contested(live, config, theirs, "", &mut paths);
        conflicts.extend(
            paths
                .into_iter()
                .map(|path| format!("{path} (manager \"{name}\")")),
        );
    }
    if !conflicts.is_empty() && !force {
        return Err(conflicts);
    }
    if let Some(before) = managers.get(manager).cloned() {
        let others: Vec<&Value> = managers
            .iter()
            .filter(|(name, _)| *name != manager)
            .map(|(_, value)| value)
            .collect();
        drop_removed(live, &before, config, &others);
    }
    merge(live, config);
    for (_, theirs) in managers.iter_mut().filter(|(name, _)| *name != manager) {
        // Taken by force: what differs is theirs no more.
        disown(theirs, config);
    }
    managers.insert(manager.to_owned(), config.clone());
    Ok(())
}

/// Notes that `manager` set the fields of `patch` in passing.
pub(super) fn note(managers: &mut Managers, manager: &str, patch: &Value) {
    for (_, theirs) in managers.iter_mut().filter(|(name, _)| *name != manager) {
        disown(theirs, patch);
    }
    let held = managers
        .entry(manager.to_owned())
        .or_insert_with(|| Value::Object(Map::new()));
    merge(held, patch);
}

/// RFC 7396: objects merge, `null` removes, anything else replaces.
pub(super) fn merge_patch(live: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *live = patch.clone();
        return;
    };
    if !live.is_object() {
        *live = Value::Object(Map::new());
    }
    let Value::Object(fields) = live else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge_patch(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn merge(live: &mut Value, config: &Value) {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) => {
            for (key, value) in config {
                merge(live.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (live, config) => *live = config.clone(),
    }
}

/// Paths that `config` would change although `theirs` holds them.
fn contested(live: &Value, config: &Value, theirs: &Value, path: &str, out: &mut Vec<String>) {
    if let (Value::Object(config), Value::Object(theirs)) = (config, theirs) {
        for (key, value) in config {
            if let Some(held) = theirs.get(key) {
                contested(&live[key], value, held, &format!("{path}.{key}"), out);
            }
        }
    } else if live != config {
        out.push(path.to_owned());
    }
}

/// Removes what the manager applied before and applies no more, unless
/// somebody else holds it too.
fn drop_removed(live: &mut Value, before: &Value, config: &Value, others: &[&Value]) {
    let (Value::Object(live), Value::Object(before)) = (live, before) else {
        return;
    };
    for (key, value) in before {
        let theirs: Vec<&Value> = others.iter().filter_map(|other| other.get(key)).collect();
        match config.get(key) {
            Some(still) => {
                if let Some(live) = live.get_mut(key) {
                    drop_removed(live, value, still, &theirs);
                }
            }
            None if theirs.is_empty() => {
                live.remove(key);
            }
            None => {}
        }
    }
}

/// Removes from `theirs` the leaves that `config` sets otherwise.
fn disown(theirs: &mut Value, config: &Value) {
    let (Value::Object(theirs), Value::Object(config)) = (theirs, config) else {
        return;
    };
    for (key, value) in config {
        let Some(held) = theirs.get_mut(key) else {
            continue;
        };
        if held.is_object() && value.is_object() {
            disown(held, value);
        } else if held != value {
            theirs.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_left_the_configuration_leaves_the_object() {
        let (mut live, mut managers) = (json!({"server": 1}), Managers::new());
        apply(
            &mut live,
            &mut managers,
            "m",
            &json!({"labels": {"a": "1", "b": "2"}}),
            false,
        )
        .unwrap();
        apply(
            &mut live,
            &mut managers,
            "m",
            &json!({"labels": {"a": "1"}}),
            false,
        )
        .unwrap();
        assert_eq!(live, json!({"server": 1, "labels": {"a": "1"}}));
    }

    #[test]
    fn a_field_of_another_manager_is_a_conflict_unless_forced() {
        let (mut live, mut managers) = (json!({}), Managers::new());
        apply(&mut live, &mut managers, "m", &json!({"x": 1}), false).unwrap();
        merge_patch(&mut live, &json!({"x": 2}));
        note(&mut managers, "other", &json!({"x": 2}));
        let conflict = apply(&mut live, &mut managers, "m", &json!({"x": 1}), false);
        assert_eq!(conflict, Err(vec![".x (manager \"other\")".to_owned()]));
        assert_eq!(live, json!({"x": 2}));
        apply(&mut live, &mut managers, "m", &json!({"x": 1}), true).unwrap();
        assert_eq!(live, json!({"x": 1}));
        apply(&mut live, &mut managers, "m", &json!({"x": 3}), false).unwrap();
    }

    #[test]
    fn a_merge_patch_removes_with_null() {
        let mut live = json!({"a": {"b": 1, "c": 2}});
        merge_patch(&mut live, &json!({"a": {"b": null}, "d": [1]}));
        assert_eq!(live, json!({"a": {"c": 2}, "d": [1]}));
    }
}
