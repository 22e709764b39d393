//! What is written down of models' calls, and the sums that budgets go by.

use std::time::Duration;

use codex_k8s::{
    domain::{ids::AttemptNo, run::Run},
    store::{ModelUse, NewModelCall, TokensUsed},
};

use super::fixtures::World;

fn call(run: &Run, input: Option<i64>, output: Option<i64>, cost: Option<i64>) -> NewModelCall {
    NewModelCall {
        run: run.id,
        attempt: AttemptNo(1),
        project: run.project.clone(),
        provider: "openai".to_owned(),
        model: "gpt".to_owned(),
        status: Some(200),
        input_tokens: input,
        cached_tokens: input.map(|input| input / 2),
        output_tokens: output,
        cost,
        started_at: run.created_at,
    }
}

#[tokio::test]
async fn tokens_are_summed_by_run_and_by_project_and_day() {
    let world = World::bound().await;
    let api = world.database.api().await;
    let (first, second) = (
        world.preparing_run(1, 1).await,
        world.preparing_run(2, 2).await,
    );
    let used = async |run: &Run| api.tokens_used(run.id, &run.project).await.unwrap();
    let none = TokensUsed {
        run: 0,
        project_today: 0,
    };
    assert_eq!(used(&first).await, none);
    api.insert_model_call(&call(&first, Some(100), Some(10), Some(7)))
        .await
        .unwrap();
    api.insert_model_call(&call(&second, Some(1_000), None, None))
        .await
        .unwrap();
    let both = TokensUsed {
        run: 110,
        project_today: 1_110,
    };
    assert_eq!(used(&first).await, both);
    // A day later the project begins anew, the run does not.
    world.database.shift_clock(Duration::from_hours(24)).await;
    let later = TokensUsed {
        run: 110,
        project_today: 0,
    };
    assert_eq!(used(&first).await, later);
}

#[tokio::test]
async fn what_a_provider_did_not_tell_stays_unknown() {
    let world = World::bound().await;
    let api = world.database.api().await;
    let run = world.preparing_run(1, 1).await;
    assert_eq!(api.model_use(run.id).await.unwrap().calls, 0);
    api.insert_model_call(&call(&run, Some(100), Some(10), Some(7)))
        .await
        .unwrap();
    let known = ModelUse {
        calls: 1,
        unknown: 0,
        input_tokens: 100,
        cached_tokens: 50,
        output_tokens: 10,
        cost: Some(7),
    };
    assert_eq!(api.model_use(run.id).await.unwrap(), known);
    api.insert_model_call(&call(&run, None, None, None))
        .await
        .unwrap();
    let partly = ModelUse {
        calls: 2,
        unknown: 1,
        cost: None,
        ..known
    };
    assert_eq!(api.model_use(run.id).await.unwrap(), partly);
}

#[tokio::test]
async fn a_call_of_a_run_that_has_ended_is_written_down_all_the_same() {
    let world = World::bound().await;
    let api = world.database.api().await;
    let run = world.preparing_run(1, 1).await;
    let over = world.cancelled(&run).await;
    api.insert_model_call(&call(&over, Some(1), Some(1), None))
        .await
        .unwrap();
    assert_eq!(api.model_use(over.id).await.unwrap().calls, 1);
}
