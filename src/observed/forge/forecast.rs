//! What polling will cost in an hour, from what there is to poll: the same steps as the poll's,
//! at the forge's prices. Pure; reading and writing by runs come on top.

use serde::Serialize;

use super::report::PollSettings;
use crate::forge::github::price::{self, Price};

/// What there is to poll, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Bound repositories.
    pub repositories: usize,
    /// Subjects with a live trigger, run or approval.
    pub live: usize,
    /// Accounts whose rights are wanted.
    pub actors: usize,
    /// Repositories in which something moves in every period.
    pub moving: usize,
    /// How often is polled.
    pub period: std::time::Duration,
}

/// One line of the forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What is read.
    pub what: &'static str,
    /// REST requests an hour.
    pub rest: u64,
    /// GraphQL requests an hour.
    pub graphql: u64,
    /// GraphQL points an hour.
    pub points: u64,
}

/// What an hour of polling will cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Line by line.
    pub lines: Vec<Line>,
}

impl Forecast {
    /// Works it out.
    pub fn of(load: &Load, settings: &PollSettings) -> Self {
        let polls = times(load.period);
        let sweeps = times(settings.sweep_every).min(polls);
        let graphql = |what, times: u64, price: Price| Line {
            what,
            rest: 0,
            graphql: times * price.queries,
            points: times * price.points,
        };
        let rest = |what, rest| Line {
            what,
            rest,
            graphql: 0,
            points: 0,
        };
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        // Something that moves is looked at until nothing of it can be hidden any more.
        let shown = price::listed(load.moving)
            + price::moved_subjects(load.moving)
            + price::conversations(load.moving.min(load.live));
        let rights = times(settings.permission_age * 3 / 4) * count(load.actors);
        // Each repository once in the interval, however the hours share them: whose it is, and the
        // variables that are ours.
        let owners =
            2 * count(load.repositories) * 3_600 / settings.owner_variable_every.as_secs().max(1);
        Self {
            lines: vec![
                graphql(
                    "which repositories moved",
                    polls,
                    price::detection(load.repositories),
                ),
                graphql("live subjects", polls, price::hot_subjects(load.live)),
                graphql("what moved", polls, shown),
                graphql("sweep by label", sweeps, price::sweep(load.repositories)),
                rest("whose the repositories are", owners),
                rest("rights of those who ask", rights),
            ],
        }
    }

    /// All of it.
    pub fn total(&self) -> Line {
        let sum = |of: fn(&Line) -> u64| self.lines.iter().map(of).sum();
        Line {
            what: "together",
            rest: sum(|line| line.rest),
            graphql: sum(|line| line.graphql),
            points: sum(|line| line.points),
        }
    }
}

/// How often something with a period happens in an hour.
fn times(period: std::time::Duration) -> u64 {
    let hour = std::time::Duration::from_hours(1).as_millis();
    u64::try_from(hour / period.as_millis().max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thousand_repositories_every_half_minute_cost_a_third_of_the_points() {
        let load = Load {
            repositories: 1_000,
            live: 0,
            actors: 0,
            moving: 0,
            period: Duration::from_secs(30),
        };
        let forecast = Forecast::of(&load, &PollSettings::default());
        assert_eq!(forecast.lines[0].points, 1_680);
        assert_eq!(forecast.lines[0].graphql, 1_680);
        assert!(forecast.total().points < 2_000, "{forecast:?}");
        assert!(forecast.total().rest < 400, "{forecast:?}");
    }
}
