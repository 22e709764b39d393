//! The Responses API of `OpenAI`, streamed: as much as the codex CLI uses.

use axum::{body::Bytes, extract::State, http::HeaderMap, response::Response};
use serde_json::{Value, json};

use super::{Model, Reply, events, offers};

/// Answers one turn.
pub(super) async fn answer(State(model): Model, headers: HeaderMap, body: Bytes) -> Response {
    let (request, reply, counted) = match model.reply("responses", &headers, &body, asked).await {
        Ok(reply) => reply,
        Err(refusal) => return refusal,
    };
    let item = match reply {
        Reply::Command { id, command } if offers(&request, "exec_command") => {
            function(&id, "exec_command", &json!({ "cmd": command }))
        }
        Reply::Command { id, command } => function(
            &id,
            "shell",
            &json!({ "command": ["bash", "-lc", command] }),
        ),
        Reply::Tool {
            id,
            name,
            arguments,
        } => {
            let mut call = function(&id, &name, &arguments);
            call["namespace"] = json!("mcp__platform");
            call
        }
        Reply::Words(words) => json!({
            "type": "message", "id": format!("message_{}", counted.number), "role": "assistant",
            "content": [{ "type": "output_text", "text": words }],
        }),
    };
    let usage = json!({
        "input_tokens": counted.input,
        "input_tokens_details": { "cached_tokens": counted.cached },
        "output_tokens": counted.output,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": counted.input + counted.output,
    });
    let id = format!("response_{}", counted.number);
    events(&[
        json!({ "type": "response.created", "response": { "id": id } }),
        json!({ "type": "response.output_item.done", "item": item }),
        json!({ "type": "response.completed", "response": { "id": id, "usage": usage } }),
    ])
}

fn function(call: &str, name: &str, arguments: &Value) -> Value {
    json!({
        "type": "function_call", "id": format!("item_{call}"), "call_id": call,
        "name": name, "arguments": arguments.to_string(),
    })
}

/// The call that the model's last words were.
fn asked(request: &Value) -> Option<&str> {
    let items = request["input"].as_array()?.iter().rev();
    let mut own =
        items.filter(|item| item["role"] == "assistant" || item["type"] == "function_call");
    own.next()?["call_id"].as_str()
}
