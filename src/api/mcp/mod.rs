//! The platform's tools, by the Model Context Protocol over streamable HTTP.
//!
//! ```text
//!  agent ─ run token ─► tools/list  what its run was granted
//!                       tools/call  judged again ─► fact ─► (the lease holder writes)
//! ```
//!
//! *Guarantees*: a tool that is not granted is neither shown nor done; every call is written
//! down, whatever becomes of it; nothing is written at the forge from here.
//!
//! There are no sessions: each request stands for itself, so any replica answers any of them.

mod calls;
mod catalogue;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, Request},
    response::{IntoResponse, Response},
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use serde_json::Value;

pub use calls::ToolCallRecord;
pub(crate) use calls::is_parked;

use super::{
    error::ApiResult,
    run::{Caller, RunApi, caller},
};
use calls::Answer;

/// The longest request: names of labels.
const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// What agents are told of the tools as a whole.
const INSTRUCTIONS: &str = "Tools of the platform that runs you. Labels that ask for work \
    (such as `run:…`) are never put on by you: to add one asks people, who decide.";

/// Answers a request of a run's agent.
pub(crate) async fn serve(State(api): State<RunApi>, request: Request<Body>) -> Response {
    match server(api, request.headers().clone()).await {
        Ok(server) => server.handle(request).await.into_response(),
        Err(error) => error.into_response(),
    }
}

async fn server(
    api: RunApi,
    headers: HeaderMap,
) -> ApiResult<StreamableHttpService<Tools, NeverSessionManager>> {
    let caller = caller(&api, &headers).await?;
    caller.must_be_live()?;
    let tools = Tools {
        api,
        caller: Arc::new(caller),
    };
    let mut config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        // Pods name the platform's service as they reach it; the run token is what counts.
        .disable_allowed_hosts();
    config.max_request_body_bytes = MAX_REQUEST_BYTES;
    let made = move || Ok(tools.clone());
    Ok(StreamableHttpService::new(
        made,
        Arc::new(NeverSessionManager::default()),
        config,
    ))
}

/// The tools as one caller sees them.
#[derive(Clone)]
struct Tools {
    api: RunApi,
    caller: Arc<Caller>,
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let name = Implementation::new("codex-k8s", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities)
            .with_server_info(name)
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let granted = self.caller.access.frozen.as_ref();
        let tools = granted.into_iter().flat_map(|frozen| &frozen.tools.tools);
        Ok(ListToolsResult::with_all_items(
            tools.map(|tool| catalogue::definition(*tool)).collect(),
        ))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let answer = calls::call(&self.api, &self.caller, &request.name, arguments).await;
        let Answer { value, refusal } = answer.map_err(|error| {
            let message = error.body.message;
            ErrorData::internal_error(message, None)
        })?;
        let result = match refusal {
            Some(why) => CallToolResult::error(vec![ContentBlock::text(why)]),
            None => CallToolResult::structured(value),
        };
        Ok(result.into())
    }
}
