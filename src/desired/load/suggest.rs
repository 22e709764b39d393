//! "Did you mean": the nearest of some known names.

/// A hint for a name that is not known, or nothing when none is near.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let wanted = name.to_lowercase();
    let nearest = known
        .into_iter()
        .map(|candidate| (distance(&wanted, &candidate.to_lowercase()), candidate))
        .min();
    let limit = (wanted.chars().count() / 3).max(1);
    match nearest {
        Some((distance, candidate)) if distance <= limit => {
            format!("; did you mean `{candidate}`?")
        }
        _ => String::new(),
    }
}

/// How many letters must be changed, added, removed or swapped with a neighbour.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(MAX_NAME).collect();
    let right: Vec<char> = right.chars().take(MAX_NAME).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let cost = usize::from(left[i - 1] != right[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

/// Longer names are compared by their beginning only.
const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        assert_eq!(
            did_you_mean("polcy", ["policy", "image"]),
            "; did you mean `policy`?"
        );
        assert_eq!(did_you_mean("dve", ["qa", "dev"]), "; did you mean `dev`?");
        assert_eq!(did_you_mean("zebra", ["policy", "image"]), "");
        assert_eq!(did_you_mean("x", []), "");
    }
}
