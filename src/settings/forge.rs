//! The forge, and who we are there.

use secrecy::SecretString;
use url::Url;

use super::{Concern, Reader, value::HttpUrl, variables as var};

/// The forge and our credentials.
#[derive(Debug, Clone)]
pub struct Forge {
    /// The REST API, without a trailing slash in its path.
    pub api_url: Url,
    /// The GraphQL API.
    pub graphql_url: Url,
    /// Where Git is served over HTTP.
    pub git_url: Url,
    /// The reconciler's credential.
    pub credential: ForgeCredential,
    /// The API roles' credential; the reconciler's where none is given.
    pub read_credential: ForgeCredential,
}

/// How we prove who we are.
#[derive(Debug, Clone)]
pub enum ForgeCredential {
    /// A user's or machine account's token.
    Token(SecretString),
    /// A GitHub App's installation.
    App(AppCredential),
}

/// A GitHub App's installation.
#[derive(Debug, Clone)]
pub struct AppCredential {
    /// The App.
    pub app_id: u64,
    /// Its installation.
    pub installation: u64,
    /// Its private key in PEM.
    pub key: SecretString,
}

impl Concern for Forge {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let api_url = reader.required::<HttpUrl>(&var::FORGE_API_URL);
        let graphql_url = reader.optional::<HttpUrl>(&var::FORGE_GRAPHQL_URL);
        let git_url = reader.optional::<HttpUrl>(&var::FORGE_GIT_URL);
        let read_token = reader.optional_secret(&var::FORGE_READ_TOKEN);
        let credential = credential(reader);
        let HttpUrl(api_url) = api_url?;
        let credential = credential?;
        let or_derived = |given: Option<HttpUrl>, derived: Derived| {
            given.map_or_else(|| derived.of(&api_url), |HttpUrl(url)| url)
        };
        Some(Self {
            graphql_url: or_derived(graphql_url?, Derived::Graphql),
            git_url: or_derived(git_url?, Derived::Git),
            read_credential: read_token?.map_or_else(|| credential.clone(), ForgeCredential::Token),
            credential,
            api_url,
        })
    }
}

fn credential(reader: &mut Reader<'_>) -> Option<ForgeCredential> {
    let token = reader.optional_secret(&var::FORGE_TOKEN);
    let app_id = reader.optional::<u64>(&var::FORGE_APP_ID);
    let installation = reader.optional::<u64>(&var::FORGE_APP_INSTALLATION);
    let key = reader.optional_secret(&var::FORGE_APP_KEY);
    match (token?, app_id?, installation?, key?) {
        (Some(token), None, None, None) => Some(ForgeCredential::Token(token)),
        (None, Some(app_id), Some(installation), Some(key)) => {
            Some(ForgeCredential::App(AppCredential {
                app_id,
                installation,
                key,
            }))
        }
        (None, None, None, None) => {
            reader.note(
                &var::FORGE_TOKEN,
                "required, unless a GitHub App's id, installation and key are given",
            );
            None
        }
        (Some(_), ..) => {
            reader.note(&var::FORGE_TOKEN, "give a token or a GitHub App, not both");
            None
        }
        (None, ..) => {
            reader.note(
                &var::FORGE_APP_ID,
                "a GitHub App needs its id, installation and key",
            );
            None
        }
    }
}

/// A URL that follows from the REST API's.
#[derive(Clone, Copy)]
enum Derived {
    Graphql,
    Git,
}

impl Derived {
    /// `api.github.com` and `https://HOST/api/v3` are GitHub's two forms; anything else
    /// is taken as the root of a server that has both beside its API.
    fn of(self, api: &Url) -> Url {
        let mut url = api.clone();
        let path = api.path().trim_end_matches('/').to_owned();
        match self {
            Self::Graphql => {
                let root = path.strip_suffix("/v3").unwrap_or(&path);
                url.set_path(&format!("{root}/graphql"));
            }
            Self::Git => {
                let public_host = api.host_str().and_then(|host| host.strip_prefix("api."));
                if let Some(host) = public_host {
                    // Cannot fail: what follows `api.` in a host is a host.
                    let _ = url.set_host(Some(host));
                }
                url.set_path(path.strip_suffix("/api/v3").unwrap_or(&path));
            }
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(api: &str) -> (String, String) {
        let api: Url = api.parse().unwrap();
        (
            Derived::Graphql.of(&api).to_string(),
            Derived::Git.of(&api).to_string(),
        )
    }

    #[test]
    fn both_forms_of_github_lead_to_their_graphql_and_git() {
        assert_eq!(
            derived("https://api.github.com"),
            (
                "https://api.github.com/graphql".to_owned(),
                "https://github.com/".to_owned()
            )
        );
        assert_eq!(
            derived("https://forge.example.org/api/v3"),
            (
                "https://forge.example.org/api/graphql".to_owned(),
                "https://forge.example.org/".to_owned()
            )
        );
        assert_eq!(
            derived("http://127.0.0.1:3000"),
            (
                "http://127.0.0.1:3000/graphql".to_owned(),
                "http://127.0.0.1:3000/".to_owned()
            )
        );
    }
}
