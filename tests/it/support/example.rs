//! The example organisation, cut down to what one stage needs.

/// A file of `state/` as far as the stage `dev` goes; `None` for one that serves other stages
/// alone. They are more of the same, and every world would pay for them.
pub(crate) fn of_dev(path: &str, text: &str) -> Option<String> {
    let of_an_agent = path.starts_with("agents/") || path.starts_with("prompts/");
    match path {
        "stages.yaml" => Some(items_with(text, "kind: dev")),
        "labels.yaml" => Some(items_with(text, "stage: dev")),
        "agents/dev.yaml" => Some(text.to_owned()),
        _ if path.starts_with("prompts/dev/") => Some(text.to_owned()),
        _ if of_an_agent => None,
        _ => Some(text.to_owned()),
    }
}

/// The text with those items of its one list that have this line, and all that is no item.
fn items_with(text: &str, line: &str) -> String {
    let mut kept = String::new();
    let mut item = String::new();
    for one in text.split_inclusive('\n') {
        let begins = one.starts_with("    - ");
        let goes_on = !item.is_empty() && one.starts_with("     ");
        if !goes_on {
            keep(&mut kept, &mut item, line);
        }
        if begins || goes_on {
            item.push_str(one);
        } else {
            kept.push_str(one);
        }
    }
    keep(&mut kept, &mut item, line);
    kept
}

fn keep(kept: &mut String, item: &mut String, line: &str) {
    let is = |one: &str| one.trim_start_matches([' ', '-']) == line;
    if item.lines().any(is) {
        kept.push_str(item);
    }
    item.clear();
}
