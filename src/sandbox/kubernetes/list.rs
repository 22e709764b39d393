//! Lists: selected, in pages.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::Call;
use super::selector::Selector;
use super::state::Shared;
use super::status::ApiStatus;

/// Where a list goes on.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    version: u64,
    namespace: String,
    name: String,
}

/// One page of a list.
pub(super) fn page(shared: &Shared, call: &Call) -> Result<Value, ApiStatus> {
    let selector = Selector::parse(call.query("labelSelector"), call.query("fieldSelector"))?;
    let resume = call
        .query("continue")
        .filter(|text| !text.is_empty())
        .map(decode)
        .transpose()?;
    let limit = call
        .query("limit")
        .and_then(|text| text.parse::<usize>().ok())
        .unwrap_or(0);
    let resource = call.target.resource;
    let (compacted, (version, mut all)) = shared.with_store(|store| {
        (
            store.compacted(),
            store.list(resource, call.target.namespace.as_deref()),
        )
    });
    let mut version = version;
    if let Some(resume) = resume {
        if resume.version < compacted {
            return Err(ApiStatus::expired());
        }
        version = resume.version;
        let last = (resume.namespace, resume.name);
        all.retain(|(key, _)| (&key.namespace, &key.name) > (&last.0, &last.1));
    }
    all.retain(|(_, object)| selector.matches(object));
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if limit > 0 && all.len() > limit {
        metadata["remainingItemCount"] = Value::from(all.len() - limit);
        all.truncate(limit);
        if let Some((key, _)) = all.last() {
            let token = Continue {
                version,
                namespace: key.namespace.clone(),
                name: key.name.clone(),
            };
            metadata["continue"] = Value::from(encode(&token));
        }
    }
    let items: Vec<Value> = all.iter().map(|(_, object)| call.shown(object)).collect();
    let (api_version, kind) = if call.metadata_only {
        (
            "meta.k8s.io/v1".to_owned(),
            "PartialObjectMetadataList".to_owned(),
        )
    } else {
        (resource.api_version(), format!("{}List", resource.kind))
    };
    Ok(json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items}))
}

fn encode(token: &Continue) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::json!(token).to_string())
}

fn decode(text: &str) -> Result<Continue, ApiStatus> {
    let invalid = || ApiStatus::bad_request("continue key is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
    serde_json::from_slice(&bytes).map_err(|_| invalid())
}
