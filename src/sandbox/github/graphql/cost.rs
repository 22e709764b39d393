//! What a query costs, by GitHub's formula, before it runs.
//!
//! Every connection needs one request for each thing it hangs on; the sum divided by a hundred,
//! rounded, at least one, is the number of points. The nodes asked for are limited, and every
//! connection must say how many it wants.

use apollo_compiler::ast::Value as Literal;
use apollo_compiler::executable::{Field, Selection, SelectionSet};
use serde_json::Value;

use super::Query;

/// GitHub's limit of nodes in one query.
const MOST_NODES: u64 = 500_000;

/// GitHub's limit of a page.
const LARGEST_PAGE: u64 = 100;

/// A query's price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub points: u32,
    pub nodes: u64,
}

struct Walk<'q> {
    query: &'q Query,
    requests: u64,
    nodes: u64,
}

type Refused = (&'static str, String);

/// Prices a query, or says which limit it breaks.
pub(super) fn of(query: &Query) -> Result<Cost, Refused> {
    let operation = query.document.operations.get(query.operation.as_deref());
    let Ok(operation) = operation else {
        return Ok(Cost {
            points: 1,
            nodes: 0,
        });
    };
    let mut walk = Walk {
        query,
        requests: 0,
        nodes: 0,
    };
    walk.set(&operation.selection_set, 1)?;
    if walk.nodes > MOST_NODES {
        let message = format!(
            "This query requests up to {} possible nodes which exceeds the maximum limit of {MOST_NODES}.",
            walk.nodes
        );
        return Err(("MAX_NODE_LIMIT_EXCEEDED", message));
    }
    let points = (walk.requests + 50) / 100;
    Ok(Cost {
        points: u32::try_from(points).unwrap_or(u32::MAX).max(1),
        nodes: walk.nodes,
    })
}

impl Walk<'_> {
    fn set(&mut self, set: &SelectionSet, times: u64) -> Result<(), Refused> {
        for selection in &set.selections {
            match selection {
                Selection::Field(field) => self.field(field, times)?,
                Selection::InlineFragment(fragment) => self.set(&fragment.selection_set, times)?,
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = self.query.document.fragments.get(&spread.fragment_name)
                    {
                        self.set(&fragment.selection_set, times)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, times: u64) -> Result<(), Refused> {
        let is_connection = field
            .definition
            .ty
            .inner_named_type()
            .ends_with("Connection");
        if is_connection {
            let size = self.page(field)?;
            self.requests += times;
            self.nodes += times * size;
            return self.set(&field.selection_set, times * size);
        }
        let ids = if field.name == "nodes" {
            self.ids(field)
        } else {
            None
        };
        self.nodes += ids.unwrap_or(0);
        self.set(&field.selection_set, times * ids.unwrap_or(1).max(1))
    }

    fn argument(&self, field: &Field, name: &str) -> Option<Value> {
        match field.specified_argument_by_name(name)?.as_ref() {
            Literal::Variable(variable) => {
                let value = self.query.variables.get(variable.as_str())?;
                serde_json::to_value(value).ok()
            }
            Literal::Int(number) => number.try_to_i32().ok().map(Value::from),
            Literal::List(items) => Some(Value::Array(vec![Value::Null; items.len()])),
            _ => None,
        }
    }

    fn ids(&self, field: &Field) -> Option<u64> {
        let ids = self.argument(field, "ids")?;
        u64::try_from(ids.as_array()?.len()).ok()
    }

    fn page(&self, field: &Field) -> Result<u64, Refused> {
        let asked = self
            .argument(field, "first")
            .or_else(|| self.argument(field, "last"));
        let name = &field.name;
        let Some(size) = asked.as_ref().and_then(Value::as_i64) else {
            let message = format!(
                "You must provide a `first` or `last` value to properly paginate the `{name}` connection."
            );
            return Err(("MISSING_PAGINATION_BOUNDARIES", message));
        };
        match u64::try_from(size) {
            Ok(size) if size <= LARGEST_PAGE => Ok(size),
            _ => {
                let message = format!(
                    "Requesting {size} records on the `{name}` connection exceeds the `first` limit of {LARGEST_PAGE} records."
                );
                Err(("EXCESSIVE_PAGINATION", message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::priced;
    use super::*;
    use serde_json::json;

    fn cost(text: &str) -> Result<Cost, Refused> {
        of(&priced(&json!({ "query": text })).ok().unwrap())
    }

    #[test]
    fn seventy_four_repositories_with_two_connections_cost_one_point() {
        let one = "issues(first: 1) { totalCount } pullRequests(first: 1) { totalCount }";
        let alias =
            |n: usize| format!("r{n}: repository(owner: \"o\", name: \"r{n}\") {{ {one} }}");
        let query = |count: usize| {
            let aliases: String = (0..count).map(alias).collect();
            format!("{{ {aliases} }}")
        };
        assert_eq!(
            cost(&query(74)).unwrap(),
            Cost {
                points: 1,
                nodes: 148
            }
        );
        assert_eq!(cost(&query(75)).unwrap().points, 2);
    }

    #[test]
    fn nested_connections_multiply() {
        let query = "{ repository(owner: \"o\", name: \"r\") { issues(first: 100) { nodes { labels(first: 10) { nodes { name } } } } } }";
        assert_eq!(
            cost(query).unwrap(),
            Cost {
                points: 1,
                nodes: 1_100
            }
        );
        let deeper = "{ repository(owner: \"o\", name: \"r\") { issues(first: 100) { nodes { labels(first: 10) { nodes { name } } comments(first: 1) { totalCount } userContentEdits(first: 1) { totalCount } } } } }";
        assert_eq!(cost(deeper).unwrap().points, 3);
    }

    /// The example of GitHub's page on the limits of its GraphQL API: of 100 repositories the
    /// first 50 issues, of each the first 60 labels. A request for each repository's issues and
    /// one for each issue's labels are 5,100 of its 5,101; the last is for the list of
    /// repositories, which are named here.
    #[test]
    fn the_example_of_githubs_documentation_costs_what_it_says() {
        let one = "issues(first: 50) { nodes { labels(first: 60) { nodes { name } } } }";
        let alias =
            |n: usize| format!("r{n}: repository(owner: \"o\", name: \"r{n}\") {{ {one} }}");
        let aliases: String = (0..100).map(alias).collect();
        assert_eq!(
            cost(&format!("{{ {aliases} }}")).unwrap(),
            Cost {
                points: 51,
                nodes: 5_000 + 300_000
            }
        );
    }

    #[test]
    fn a_connection_without_a_size_is_refused() {
        let query = "{ repository(owner: \"o\", name: \"r\") { issues { totalCount } } }";
        assert_eq!(cost(query).unwrap_err().0, "MISSING_PAGINATION_BOUNDARIES");
    }
}
