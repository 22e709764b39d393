//! Nothing but latency hangs on nudges: all of them lost, or ten thousand hints in any order.
//!
//! The stepped world itself knows no nudges: its polls and passes come when the driver draws
//! them, and whatever rings between them is heard by nobody. So every scenario and every seed
//! plays with all of them lost; what is left to show is that the loop does the same by itself.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::Request};
use codex_k8s::{
    api::{
        ApiMetrics, StaffContext,
        port::{Hint, WakeHandle},
        staff_router,
    },
    observed::forge::ForgeObserver,
    sandbox::seed::REPOSITORIES,
};
use futures::future::BoxFuture;
use hmac::{Hmac, Mac};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    chance::Chance,
    driver::{Setup, World},
    edges, invariants,
    platform::{Platform, Ways},
    scenario::Scenario,
    scenarios,
};

const HINTS: usize = 10_000;
const SECRET: &str = "a secret of webhooks";
/// What a renamed repository is called then.
const RENAMED: &str = "example-org/welcome";
/// Repositories that are bound or were under that name.
const BOUND: usize = 3;
/// Requests that one hinted read of one repository takes at most.
const MOST_REQUESTS: u64 = 40;
/// How long the loop may take without nudges.
const PATIENCE: Duration = Duration::from_mins(2);

/// Some hints at once; the next hinted read, or any poll, follows them.
pub(crate) fn hints(world: &mut World) -> BoxFuture<'_, ()> {
    let platform = world.platform.as_ref().expect("a process is there");
    let hints = platform.observer.hints();
    for _ in 0..20 {
        let names = [REPOSITORIES[0], REPOSITORIES[1], RENAMED, "nobody/nothing"];
        let name = names[world.chance.below(names.len())];
        hints.hint(&name.parse().unwrap(), Instant::now());
    }
    Box::pin(std::future::ready(()))
}

/// The observer of whoever is the process now.
#[derive(Default)]
struct Current(Mutex<Option<Arc<ForgeObserver>>>);

impl WakeHandle for Current {
    fn hint(&self, hint: Hint) {
        if let Some(observer) = self.0.lock().unwrap().as_ref() {
            observer.hints().hint(&hint.name, Instant::now());
        }
    }
}

/// Deliveries of webhooks, drawn.
struct Storm {
    router: Router,
    current: Arc<Current>,
    chance: Chance,
    sent: usize,
    accepted: usize,
}

impl Storm {
    fn over(world: &World) -> Self {
        let current = Arc::new(Current::default());
        let router = staff_router(StaffContext {
            store: Arc::new(world.outside.api.clone()),
            wake: current.clone(),
            token: None,
            webhook_secret: Some(SECRET.to_owned().into()),
            metrics: ApiMetrics::register(&prometheus::Registry::new()).unwrap(),
        });
        Self {
            router,
            current,
            chance: Chance::new(7),
            sent: 0,
            accepted: 0,
        }
    }

    /// From now on the process of now is hinted.
    fn follow(&self, world: &World) {
        let platform = world.platform.as_ref().expect("a process is there");
        *self.current.0.lock().unwrap() = Some(platform.observer.clone());
    }

    /// Sends so many, a little apart.
    async fn send(&mut self, bodies: &[&str], count: usize) {
        for _ in 0..count {
            let body = bodies[self.chance.below(bodies.len())];
            let forged = self.chance.below(10) == 0;
            self.deliver(body, if forged { "another secret" } else { SECRET })
                .await;
            if self.chance.below(20) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    async fn deliver(&mut self, body: &str, secret: &str) {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let request = Request::post("/api/v1/webhooks/github")
            .header("x-github-event", "issues")
            .header("x-hub-signature-256", format!("sha256={signature}"))
            .body(Body::from(body.to_owned()))
            .unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        self.sent += 1;
        self.accepted += usize::from(answer.status().is_success());
    }
}

/// Nothing of these is bound, or says anything at all.
const NOISE: [&str; 6] = [
    r#"{"repository":{"id":1,"full_name":"nobody/nothing"}}"#,
    r#"{"repository":{"id":-1,"full_name":"not a name"}}"#,
    r#"{"repository":{"full_name":"example-org/hello"}}"#,
    r#"{"repository":null}"#,
    "[]",
    "{",
];
const NAMED: [&str; 3] = [
    r#"{"repository":{"id":1006,"full_name":"example-org/hello"}}"#,
    r#"{"repository":{"id":1006,"full_name":"example-org/welcome"}}"#,
    r#"{"repository":{"id":1007,"full_name":"example-org/notes"}}"#,
];

fn requests(world: &World) -> u64 {
    world.outside.github.counters().requests.values().sum()
}

fn renamed() -> Scenario {
    let mut all = scenarios::all().into_iter();
    all.find(|one| one.name == "repository renamed").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hints_in_any_order_change_no_end_and_cost_a_bounded_number_of_requests() {
    let (reference, undisturbed) = edges::play(Setup::undisturbed(renamed())).await;
    undisturbed.outside.end().await;
    let mut world = World::start(Setup::undisturbed(renamed())).await;
    let mut storm = Storm::over(&world);
    storm.follow(&world);
    world.poll_config().await;
    world.poll_forge().await;
    let quiet = requests(&world);
    storm.send(&NOISE, 200).await;
    world.poll_hinted().await;
    assert_eq!(requests(&world), quiet, "what is not bound is not read");

    let all: Vec<&str> = NOISE.into_iter().chain(NAMED).collect();
    let (began, mut reads, mut cost) = (Instant::now(), 0_u64, 0_u64);
    while storm.sent < HINTS {
        storm.follow(&world);
        tokio::join!(world.step_by_chance(), storm.send(&all, 50));
        storm.send(&all, 50).await;
        let before = requests(&world);
        world.poll_hinted().await;
        let asked = requests(&world) - before;
        assert!(asked <= MOST_REQUESTS * BOUND as u64, "{asked} requests");
        reads += u64::from(asked > 0);
        cost += asked;
        invariants::check(&world).await.unwrap();
    }
    // Each name at most once a second, however many hints there were.
    let most = BOUND as u64 * (began.elapsed().as_secs() + 2);
    assert!(reads > 0 && reads <= most, "{reads} reads, not {most}");
    assert!(storm.accepted > HINTS / 3, "{} accepted", storm.accepted);
    let end = world.play().await.unwrap();
    end.same_as(&reference.unwrap()).unwrap();
    super::driver::note(&format!(
        "{} deliveries, {} accepted: {reads} hinted reads, {cost} requests",
        storm.sent, storm.accepted
    ));
    world.outside.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loop_reaches_the_same_end_with_every_nudge_lost() {
    let (reference, undisturbed) = edges::play(Setup::undisturbed(scenarios::plain())).await;
    undisturbed.outside.end().await;
    let reference = reference.unwrap();
    let mut world = World::start(Setup::undisturbed(scenarios::plain())).await;
    let stepped = world.platform.take().expect("a process is there");
    stepped.reconciler.give_back_once().await;
    stepped.end().await;

    let points = world.points.clone();
    let looping = Platform::start_by(&Ways::UNNUDGED, &world.outside, 2, points).await;
    let stop = CancellationToken::new();
    let told = stop.clone();
    let running = edges::alone(move || async move {
        Box::pin(looping.reconciler.run(told)).await;
        Ok(looping)
    });
    let running = tokio::spawn(running);
    let began = Instant::now();
    loop {
        if world.people_are_due().await {
            world.people_act().await;
        }
        world.pods_move().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let over = world.script_is_through() && world.is_over(1).await;
        if over && world.ended_as(&reference).await {
            break;
        }
        if began.elapsed() > PATIENCE {
            let story = world.story("it does not come to its end").await;
            panic!("{story}");
        }
    }
    stop.cancel();
    running.await.unwrap().unwrap().end().await;
    assert_eq!(world.count("select count(*) from runs").await, 1);
    world.outside.end().await;
}
