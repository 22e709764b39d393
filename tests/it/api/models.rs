//! Models through the run API: what reaches a provider, what does not, and what is written down.

use std::time::Duration;

use codex_k8s::{
    domain::{
        model_route::{Amount, ModelRoute, ModelWire, Price, Usage},
        run::RunState,
    },
    sandbox::models::{ModelScript, ScriptedModel},
};
use serde_json::{Value, json};

use super::world::{World, until};

const KEY: &str = "sk-the-key-of-the-provider";

/// A run whose provider is a scripted model.
struct Models {
    world: World,
    model: ScriptedModel,
}

impl Models {
    async fn of(wire: ModelWire) -> Self {
        let world = World::new(&["true"]).await;
        let script = ModelScript {
            commands: vec!["true".to_owned()],
            answer: "Done.".to_owned(),
            pause: Duration::ZERO,
        };
        let model = ScriptedModel::start(KEY, script).await.unwrap();
        let keys = world.dir.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        std::fs::write(keys.join("provider"), format!("{KEY}\n")).unwrap();
        let models = Self { world, model };
        models.set(|route| route.wire = wire);
        models
    }

    /// Changes the run's route; its model is `good`.
    fn set(&self, change: impl FnOnce(&mut ModelRoute)) {
        let mut rows = self.world.rows();
        let frozen = rows.run.frozen.as_mut().unwrap();
        frozen.model = Some("good".to_owned());
        let route = frozen.models.get_or_insert_with(|| ModelRoute {
            provider: "provider".to_owned(),
            wire: ModelWire::Responses,
            url: format!("{}/v1", self.model.url()),
            price: None,
            tokens_per_run: None,
            tokens_per_day: None,
        });
        change(route);
        if route.wire == ModelWire::Messages {
            route.url = self.model.url();
        }
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let url = format!("{}/run/v1/models/{path}", self.world.url);
        let request = reqwest::Client::new()
            .post(url)
            .bearer_auth(self.world.token(1))
            .header("cookie", "a=b")
            .json(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn turn(&self) -> (u16, String) {
        self.post("provider/responses", &turn("good")).await
    }

    async fn recorded(&self, calls: usize) {
        until("the calls are written down", || {
            self.world.rows().model_calls.len() >= calls
        })
        .await;
    }
}

fn turn(model: &str) -> Value {
    json!({ "model": model, "input": [{ "role": "user", "content": "Do it." }], "stream": true })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reaches_the_provider_with_its_key_and_never_the_runs_token() {
    for (wire, path) in [
        (ModelWire::Responses, "provider/responses"),
        (ModelWire::Messages, "provider/v1/messages?beta=true"),
    ] {
        let models = Models::of(wire).await;
        let (status, answer) = models.post(path, &turn("good")).await;
        assert_eq!(status, 200, "{answer}");
        assert!(answer.contains("event: "), "{answer}");
        let seen = models.model.seen();
        assert_eq!(seen.len(), 1);
        let token = models.world.token(1);
        assert!(!seen[0].headers.contains(&token), "{}", seen[0].headers);
        assert!(!seen[0].headers.contains("cookie"), "{}", seen[0].headers);
        models.recorded(1).await;
        let call = models.world.rows().model_calls[0].clone();
        assert_eq!((call.model.as_str(), call.status), ("good", Some(200)));
        // As the scripted model counts them.
        let input = u64::try_from(turn("good").to_string().len()).unwrap();
        assert_eq!(call.usage.input, Some(input / 4), "{wire:?}");
        assert_eq!(call.usage.cached, Some(input / 8), "{wire:?}");
        assert_eq!(call.usage.output, Some(2), "{wire:?}");
        assert_eq!(call.cost, None, "without a price the cost is unknown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_costs_is_written_down_where_the_price_is_known() {
    let models = Models::of(ModelWire::Responses).await;
    let price = Price {
        input: Amount(4_000_000),
        cached_input: Amount(1_000_000),
        output: Amount(8_000_000),
    };
    models.set(|route| route.price = Some(price));
    models.turn().await;
    models.recorded(1).await;
    let call = models.world.rows().model_calls[0].clone();
    assert!(call.cost.is_some_and(|cost| cost > Amount(0)));
    assert_eq!(call.cost, call.usage.cost(&price));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_models_paths_providers_and_runs_that_are_over_are_refused() {
    let models = Models::of(ModelWire::Responses).await;
    let good = turn("good");
    for (path, body, status, says) in [
        (
            "provider/responses",
            turn("dear"),
            400,
            "this run uses model good, not dear",
        ),
        ("provider/responses", json!({ "input": [] }), 400, "model"),
        ("provider/files", good.clone(), 404, "not open to runs"),
        (
            "provider/v1/messages",
            good.clone(),
            404,
            "not open to runs",
        ),
        ("other/responses", good.clone(), 404, "no provider `other`"),
    ] {
        let (got, answer) = models.post(path, &body).await;
        assert_eq!(got, status, "{path}: {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        // Both wires' programs show this field.
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{path}: {message}");
    }
    models.world.rows().run.state = RunState::Stopping;
    assert_eq!(models.turn().await.0, 410);
    assert_eq!(models.model.seen(), Vec::new());
    assert!(models.world.rows().model_calls.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_a_budget_nothing_reaches_the_provider() {
    let models = Models::of(ModelWire::Responses).await;
    models.set(|route| route.tokens_per_run = Some(1));
    assert_eq!(models.turn().await.0, 200);
    models.recorded(1).await;
    let (status, answer) = models.turn().await;
    assert_eq!(status, 400);
    assert!(
        answer.contains("this run has used its budget of 1 tokens"),
        "{answer}"
    );
    models.set(|route| {
        route.tokens_per_run = None;
        route.tokens_per_day = Some(1_000_000);
    });
    assert_eq!(models.turn().await.0, 200);
    models.world.rows().used_by_others = 1_000_000;
    let (status, answer) = models.turn().await;
    assert_eq!(status, 400);
    assert!(
        answer.contains("today's budget of 1000000 tokens"),
        "{answer}"
    );
    assert_eq!(models.model.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_provider_is_handed_through_and_a_missing_key_is_told() {
    let models = Models::of(ModelWire::Responses).await;
    let keys = models.world.dir.path().join("keys");
    std::fs::write(keys.join("provider"), "sk-another").unwrap();
    let (status, answer) = models.turn().await;
    assert_eq!(status, 401);
    assert!(answer.contains("the key is not known"), "{answer}");
    models.recorded(1).await;
    let call = models.world.rows().model_calls[0].clone();
    assert_eq!((call.status, call.usage), (Some(401), Usage::default()));
    // A changed key counts at once.
    std::fs::write(keys.join("provider"), KEY).unwrap();
    assert_eq!(models.turn().await.0, 200);
    std::fs::remove_file(keys.join("provider")).unwrap();
    let (status, answer) = models.turn().await;
    assert_eq!(status, 503);
    assert!(answer.contains("no key for provider provider"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_up_is_metered_all_the_same() {
    let models = Models::of(ModelWire::Responses).await;
    models.model.follow(ModelScript {
        commands: Vec::new(),
        answer: "Done.".repeat(200_000),
        pause: Duration::ZERO,
    });
    let url = format!("{}/run/v1/models/provider/responses", models.world.url);
    let request = reqwest::Client::new()
        .post(url)
        .bearer_auth(models.world.token(1))
        .json(&turn("good"));
    let mut answer = request.send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    drop(answer);
    models.recorded(1).await;
    let call = models.world.rows().model_calls[0].clone();
    assert!(call.usage.output.is_some_and(|output| output > 200_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_is_told_so_and_written_down() {
    let models = Models::of(ModelWire::Responses).await;
    // Nobody listens at port 1.
    models.set(|route| route.url = "http://127.0.0.1:1/v1".to_owned());
    let (status, answer) = models.turn().await;
    assert_eq!(status, 502);
    assert!(answer.contains("did not answer"), "{answer}");
    models.recorded(1).await;
    assert_eq!(models.world.rows().model_calls[0].status, None);
}
