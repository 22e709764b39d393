//! The Messages API of Anthropic, streamed: as much as the claude CLI uses.

use axum::{body::Bytes, extract::State, http::HeaderMap, response::Response};
use serde_json::{Value, json};

use super::{Model, Reply, events, offers, text};

/// Answers one turn.
pub(super) async fn answer(State(model): Model, headers: HeaderMap, body: Bytes) -> Response {
    let (request, reply, counted) = match model.reply("messages", &headers, &body, asked).await {
        Ok(reply) => reply,
        Err(refusal) => return refusal,
    };
    // Small side tasks of the program come without tools.
    let (block, delta, stop) = match reply {
        Reply::Command { id, command } if offers(&request, "Bash") => {
            let input = json!({ "command": command, "description": "Do the next step" });
            used(&id, "Bash", &input)
        }
        Reply::Tool {
            id,
            name,
            arguments,
        } => used(&id, &format!("mcp__platform__{name}"), &arguments),
        Reply::Command { command: words, .. } | Reply::Words(words) => (
            json!({ "type": "text", "text": "" }),
            json!({ "type": "text_delta", "text": words }),
            "end_turn",
        ),
    };
    let start = json!({
        "id": format!("message_{}", counted.number), "type": "message", "role": "assistant",
        "model": text(&request, "model"), "content": [],
        "stop_reason": null, "stop_sequence": null,
        "usage": {
            "input_tokens": counted.input - counted.cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": counted.cached,
            "output_tokens": 1,
        },
    });
    events(&[
        json!({ "type": "message_start", "message": start }),
        json!({ "type": "content_block_start", "index": 0, "content_block": block }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({
            "type": "message_delta",
            "delta": { "stop_reason": stop, "stop_sequence": null },
            "usage": { "output_tokens": counted.output },
        }),
        json!({ "type": "message_stop" }),
    ])
}

/// The use of a tool: its block, what fills it, and why the turn stops.
fn used(id: &str, name: &str, input: &Value) -> (Value, Value, &'static str) {
    (
        json!({ "type": "tool_use", "id": id, "name": name, "input": {} }),
        json!({ "type": "input_json_delta", "partial_json": input.to_string() }),
        "tool_use",
    )
}

/// The call that the model's last words were.
fn asked(request: &Value) -> Option<&str> {
    let mut messages = request["messages"].as_array()?.iter().rev();
    let own = messages.find(|message| message["role"] == "assistant")?;
    let mut parts = own["content"].as_array()?.iter();
    parts.find(|part| part["type"] == "tool_use")?["id"].as_str()
}
