//! What seeds draw, as the table of the page on faults.

use std::fmt::Write as _;

use strum::IntoEnumIterator;

use super::{
    faults::{Class, FAULTS},
    restores::RESTORABLE,
    scenarios,
    seeds::RESTORES,
    wire,
};

/// The table: a line for each class, then the scenarios and what happens on the wire.
pub(crate) fn drawn() -> String {
    let mut text = String::from("\n| class | faults between two steps |\n|---|---|\n");
    for class in Class::iter() {
        let of_class = FAULTS.iter().filter(|fault| fault.class == class);
        let mut names: Vec<&str> = of_class.map(|fault| fault.name).collect();
        if class == Class::Intermediate {
            names.push("the process ends at an edge");
        }
        if !names.is_empty() {
            let _ = writeln!(text, "| {class} | {} |", names.join("; "));
        }
    }
    let _ = writeln!(
        text,
        "\nOn the wire, each for up to 30 % of the requests it can lie on: {}.",
        wire::classes().join("; ")
    );
    let all = scenarios::all();
    let names: Vec<&str> = all.iter().map(|scenario| scenario.name).collect();
    let _ = writeln!(
        text,
        "\nThe {} scenarios: {}.",
        names.len(),
        names.join("; ")
    );
    let _ = writeln!(
        text,
        "\nThe database is set back in every {RESTORES}th seed, which plays one of: {}. \
         Such a world ends as is promised of a restore: what is at the forge as undisturbed, \
         the runs with their outcomes too, and no agent ended by others.\n",
        RESTORABLE.join("; ")
    );
    text
}
