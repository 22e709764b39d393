//! Connections: a slice of a list with its total and its cursors.

use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use serde_json::{Value, json};

use super::View;
use super::nodes::{Object, Thing};

/// A connection over things that are in order and filtered.
pub(super) struct Connection<'v> {
    pub type_name: &'static str,
    pub view: &'v View<'v>,
    pub things: Vec<Thing<'v>>,
    from: usize,
    to: usize,
}

/// A cursor names a place in the list.
fn cursor(index: usize) -> String {
    format!("Y3Vyc29yOjE6{index}")
}

fn place(text: Option<&Value>) -> Option<usize> {
    text?.as_str()?.strip_prefix("Y3Vyc29yOjE6")?.parse().ok()
}

impl<'v> Connection<'v> {
    /// Cuts the slice that `first`, `last`, `after` and `before` ask for.
    pub(super) fn new(
        type_name: &'static str,
        view: &'v View<'v>,
        things: Vec<Thing<'v>>,
        args: &Value,
    ) -> Self {
        let mut from = place(args.get("after"))
            .map_or(0, |index| index + 1)
            .min(things.len());
        let mut to = place(args.get("before"))
            .unwrap_or(things.len())
            .clamp(from, things.len());
        let size = |name: &str| {
            args.get(name)
                .and_then(Value::as_u64)
                .and_then(|size| usize::try_from(size).ok())
        };
        if let Some(first) = size("first") {
            to = to.min(from + first);
        }
        if let Some(last) = size("last") {
            from = from.max(to.saturating_sub(last));
        }
        Self {
            type_name,
            view,
            things,
            from,
            to,
        }
    }
}

impl ObjectValue for Connection<'_> {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "totalCount" => Ok(ResolvedValue::leaf(json!(self.things.len()))),
            "nodes" => {
                let slice = self.things.get(self.from..self.to).unwrap_or_default();
                let objects = slice.iter().map(|thing| Object {
                    view: self.view,
                    thing: *thing,
                });
                Ok(ResolvedValue::list(objects.map(ResolvedValue::object)))
            }
            "updatedAt" => Ok(ResolvedValue::leaf(json!(super::super::views::time(
                self.view.now
            )))),
            "pageInfo" => {
                let some = self.to > self.from;
                Ok(ResolvedValue::object(PageInfo {
                    start: some.then(|| cursor(self.from)),
                    end: some.then(|| cursor(self.to - 1)),
                    previous: self.from > 0,
                    next: self.to < self.things.len(),
                }))
            }
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

struct PageInfo {
    start: Option<String>,
    end: Option<String>,
    previous: bool,
    next: bool,
}

impl ObjectValue for PageInfo {
    fn type_name(&self) -> &'static str {
        "PageInfo"
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        let value = match info.field_name() {
            "startCursor" => json!(self.start),
            "endCursor" => json!(self.end),
            "hasPreviousPage" => json!(self.previous),
            "hasNextPage" => json!(self.next),
            _ => return Err(self.unknown_field_error(info)),
        };
        Ok(ResolvedValue::leaf(value))
    }
}
