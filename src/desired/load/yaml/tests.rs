//! What the parser takes, refuses and says of places.

use super::*;

#[test]
fn places_of_keys_and_values_are_known() {
    let (documents, errors) = read("a: 1\nb:\n  - x: yes\n    y/z: 2\n", 0);
    assert!(errors.is_empty(), "{errors:?}");
    let places = &documents[0].places;
    assert_eq!(places.key("/b/0/y~1z"), Place { line: 4, column: 5 });
    assert_eq!(
        places.value("/b/0/y~1z"),
        Place {
            line: 4,
            column: 10
        }
    );
    assert_eq!(places.value("/b/0/absent"), Place { line: 3, column: 5 });
}

#[test]
fn several_documents_are_read_and_empty_ones_are_none() {
    let (documents, errors) = read("---\na: 1\n---\n---\na: 2\n...\n", 0);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(documents.len(), 2);
    assert_eq!(
        documents[1].places.value("/a"),
        Place { line: 5, column: 4 }
    );
}

#[test]
fn duplicate_keys_are_found_at_the_second() {
    let (_, errors) = read("a:\n  b: 1\n  b: 2\n", 10);
    assert_eq!(errors[0].code, Code::DuplicateKey);
    assert_eq!(
        errors[0].place,
        Place {
            line: 13,
            column: 3
        }
    );
    assert!(
        errors[0].message.contains("line 12"),
        "{}",
        errors[0].message
    );
}

#[test]
fn deep_nesting_is_refused_quickly() {
    let open = "[".repeat(20_000);
    let block = "- ".repeat(20_000);
    let mut indented = String::new();
    for depth in 0..2_000 {
        indented.push_str(&" ".repeat(depth));
        indented.push_str("a:\n");
    }
    for text in [open, block, indented] {
        let (documents, errors) = read(&text, 0);
        assert!(documents.is_empty());
        assert_eq!(
            errors.last().map(|error| error.code),
            Some(Code::TooDeep),
            "{errors:?}"
        );
    }
}

#[test]
fn alias_bombs_are_refused_before_they_expand() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(
            &[
                "a",
                &level.to_string(),
                ": &a",
                &level.to_string(),
                " [",
                &aliases,
                "]\n",
            ]
            .concat(),
        );
    }
    let (documents, errors) = read(&text, 0);
    assert!(documents.is_empty());
    assert_eq!(errors[0].code, Code::AliasBomb);
    assert!(errors[0].place.line > 1);
}
