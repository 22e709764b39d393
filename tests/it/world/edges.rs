//! Crash at every edge: wherever the platform dies, a new process and quiet
//! passes reach the end of the undisturbed run.

use std::sync::Arc;

use codex_k8s::store::Edge;
use futures::StreamExt;

use super::{
    crash::{CrashAt, Point},
    driver::{Setup, World, note},
    end::EndState,
    scenario::Scenario,
    scenarios,
    seeds::number,
};

/// Worlds that are played side by side, unless `FAULTS_WORKERS` says otherwise: each waits
/// for its database most of the time.
const WORKERS: u64 = 2;

/// The scenario in which nothing happens beside the run itself.
const PLAIN: &str = "plain";

/// How a scenario went without disturbance.
pub(crate) struct Undisturbed {
    pub(crate) end: EndState,
    /// The points that came by, with how often each did.
    pub(crate) points: Vec<(Point, usize)>,
    /// How many edges came by.
    pub(crate) edges: usize,
}

/// Plays a world to its end and removes it; the failure comes with its story.
pub(crate) async fn play(setup: Setup) -> (Result<EndState, String>, World) {
    let mut world = World::start(setup).await;
    let end = match world.play().await {
        Ok(end) => Ok(end),
        Err(failure) => Err(world.story(&failure).await),
    };
    (end, world)
}

/// Plays something on a thread of its own; a panic is a failure like others.
pub(crate) async fn alone<T, F>(play: impl FnOnce() -> F + Send + 'static) -> Result<T, String>
where
    T: Send + 'static,
    F: Future<Output = Result<T, String>>,
{
    let runtime = tokio::runtime::Handle::current();
    let ended = tokio::task::spawn_blocking(move || runtime.block_on(play())).await;
    ended.unwrap_or_else(|panic| Err(format!("it panicked: {panic}")))
}

/// Plays a scenario without any disturbance.
pub(crate) async fn undisturbed(scenario: Scenario) -> Result<Undisturbed, String> {
    let (end, world) = play(Setup::undisturbed(scenario)).await;
    let (points, edges) = (world.points.found(), world.points.total());
    world.outside.end().await;
    Ok(Undisturbed {
        end: end?,
        points,
        edges,
    })
}

/// Plays a scenario with one crash; an error where it does not end as undisturbed.
async fn crashed(
    scenario: Scenario,
    at: CrashAt,
    undisturbed: Arc<Undisturbed>,
) -> Result<(), String> {
    let setup = Setup {
        crashes: vec![at.clone()],
        ..Setup::undisturbed(scenario)
    };
    let (end, world) = play(setup).await;
    let crashes = world.points.crashes().len();
    let same = match end {
        Ok(_) if crashes == 0 => Err(format!("{at:?} did not come by")),
        Ok(end) => end.same_as(&undisturbed.end),
        Err(failure) => Err(failure),
    };
    let result = match same {
        Ok(()) => Ok(()),
        Err(failure) => Err(format!("{at:?}\n{}", world.story(&failure).await)),
    };
    world.outside.end().await;
    result
}

/// Crashes a scenario at the chosen ones of its points, one world for each. Returns how many
/// there are and how many crashes were played.
pub(crate) async fn crash_at(
    scenario: Scenario,
    chosen: impl Fn(&Point) -> bool,
) -> Result<(usize, usize), String> {
    let reference = Arc::new(undisturbed(scenario.clone()).await?);
    let mut crashes = Vec::new();
    let points = reference.points.iter();
    for (point, times) in points.filter(|(point, _)| chosen(point)) {
        // A repository is bound before anything of a scenario has happened: there all of them
        // are the plain one.
        let told_by_plain = point.subject.starts_with("repository/") && scenario.name != PLAIN;
        if !told_by_plain {
            crashes.push(CrashAt::Point(point.clone(), 1));
        }
        // What comes by often is crashed at once more, somewhere later.
        if *times > 1 {
            crashes.push(CrashAt::Point(point.clone(), 1 + times / 2));
        }
    }
    let count = crashes.len();
    let worlds = crashes.into_iter().map(|at| {
        let (scenario, reference) = (scenario.clone(), reference.clone());
        async move {
            let named = format!("{}: {at:?}", scenario.name);
            let ended = alone(move || crashed(scenario, at, reference)).await;
            let failure = ended.err()?;
            note(&format!("FAILED {named}\n{failure}"));
            Some(named)
        }
    });
    let ended: Vec<_> = futures::stream::iter(worlds)
        .buffer_unordered(workers())
        .collect()
        .await;
    let failures: Vec<String> = ended.into_iter().flatten().collect();
    if failures.is_empty() {
        return Ok((reference.points.len(), count));
    }
    Err(format!(
        "{} of {count} crashes end otherwise:\n{}",
        failures.len(),
        failures.join("\n")
    ))
}

fn workers() -> usize {
    usize::try_from(number("FAULTS_WORKERS", WORKERS)).unwrap()
}

/// The scenarios that are asked for by name, else all.
fn wanted() -> Vec<Scenario> {
    let wanted = std::env::var("FAULTS_SCENARIOS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    let mut scenarios = scenarios::all();
    scenarios.retain(|scenario| wanted.is_empty() || wanted.contains(&scenario.name));
    scenarios
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_ends_as_it_says() {
    let scenarios = wanted().into_iter();
    let scenarios = scenarios.map(|scenario| alone(move || undisturbed(scenario)));
    let ended: Vec<_> = futures::stream::iter(scenarios)
        .buffer_unordered(workers())
        .collect()
        .await;
    let failures: Vec<String> = ended.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// The edges that matter most in the plain run: where something was made at the forge or in the
/// cluster and not noted. All edges are crashed at by `make faults`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashed_at_the_call_of_each_effect_a_plain_run_ends_as_undisturbed() {
    let made = |point: &Point| {
        let ends = ["/environment", "/attempt/1", "/pull-request"];
        let whole = ends.iter().any(|end| point.subject.ends_with(end));
        let begins = point.subject.starts_with("comment/");
        point.edge == Edge::AfterCall && (whole || begins || point.subject.contains("/push/"))
    };
    let (found, crashed) = crash_at(scenarios::plain(), made)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    note(&format!("{found} points, {crashed} crashes"));
    assert!(
        found >= 60 && crashed >= 5,
        "{found} points, {crashed} crashes"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults runs it"]
async fn crashed_at_every_edge_every_scenario_ends_as_undisturbed() {
    let mut failures = Vec::new();
    for scenario in wanted() {
        let name = scenario.name;
        match crash_at(scenario, |_| true).await {
            Ok((found, crashed)) => {
                note(&format!(
                    "{name}: {found} points, all crashed at, {crashed} crashes"
                ));
            }
            Err(failure) => {
                note(&format!("{name}: FAILED"));
                failures.push(format!("{name}: {failure}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
