//! The GitHub model seen through HTTP and Git, as the platform sees it.

mod contract;
mod control;
mod faults;
mod git;
mod graphql;
mod rest;

use codex_k8s::sandbox::github::{
    GitHubModel, GitHubModelConfig, Lag, Permission, RepositorySeed, TokenSeed,
};
use serde_json::Value;

const REPO: &str = "example-org/app";

/// A model with one organisation, two people and one repository.
struct Scene {
    model: GitHubModel,
    http: reqwest::Client,
    _dir: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Scene {
    async fn with_lag(lag: Lag) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = GitHubModelConfig::new(dir.path()).with_lag(lag);
        let model = GitHubModel::start(config).await.unwrap();
        model.add_organization("example-org");
        model.add_user("ada");
        model.add_user("grace");
        let seed = RepositorySeed::with_readme("An app.\n")
            .label("run:dev")
            .permission("ada", Permission::Write)
            .permission("grace", Permission::Read);
        model.add_repository(REPO, &seed).unwrap();
        model
            .add_token("ada", "ada-token", &TokenSeed::default())
            .unwrap();
        model
            .add_token("grace", "grace-token", &TokenSeed::default())
            .unwrap();
        Self {
            model,
            http: reqwest::Client::new(),
            _dir: dir,
        }
    }

    async fn new() -> Self {
        Self::with_lag(Lag::NONE).await
    }

    async fn send(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send_with(token, method, path, body, &[]).await
    }

    async fn send_with(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.model.rest_url())
        };
        let mut request = self
            .http
            .request(method.parse().unwrap(), url)
            .bearer_auth(token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        Answer {
            status,
            headers,
            body,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("ada-token", "GET", path, None).await
    }
}
