//! The marks that every object of a run carries.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::labels;
use super::input::RunIdentity;
use super::names::label_value;

/// What the marks are made of.
pub(super) struct Marks<'a> {
    /// Whose the object is.
    pub(super) identity: &'a RunIdentity,
    /// The attempt it belongs to, if to one.
    pub(super) attempt: Option<u32>,
    /// The version of the key that the attempt's run token was made with.
    pub(super) token_key_version: Option<u32>,
    /// The hash of what it is built from.
    pub(super) input_hash: &'a str,
}

impl Marks<'_> {
    /// The owner labels.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let identity = self.identity;
        let mut marks = BTreeMap::from([
            (
                labels::MANAGED_BY.to_owned(),
                labels::MANAGED_BY_VALUE.to_owned(),
            ),
            (
                labels::INSTALLATION.to_owned(),
                identity.installation.clone(),
            ),
            (labels::RUN_ID.to_owned(), identity.run.to_string()),
            (labels::PROJECT.to_owned(), label_value(&identity.project)),
            (
                labels::REPOSITORY_ID.to_owned(),
                identity.repository_id.to_string(),
            ),
            (labels::ISSUE.to_owned(), identity.issue.to_string()),
        ]);
        if let Some(attempt) = self.attempt {
            marks.insert(labels::ATTEMPT.to_owned(), attempt.to_string());
        }
        if let Some(version) = self.token_key_version {
            marks.insert(labels::TOKEN_KEY_VERSION.to_owned(), version.to_string());
        }
        marks
    }

    /// The run's full identity and the input hash.
    fn annotations(&self) -> BTreeMap<String, String> {
        let identity = self.identity;
        BTreeMap::from([
            (labels::PROJECT_KEY.to_owned(), identity.project.clone()),
            (labels::REPOSITORY.to_owned(), identity.repository.clone()),
            (labels::TRIGGER.to_owned(), identity.trigger.clone()),
            (
                labels::CORRELATION_ID.to_owned(),
                identity.correlation_id.clone(),
            ),
            (labels::INPUT_HASH.to_owned(), self.input_hash.to_owned()),
        ])
    }

    /// Metadata of an object in a namespace.
    pub(super) fn namespaced(&self, namespace: &str, name: &str) -> ObjectMeta {
        ObjectMeta {
            namespace: Some(namespace.to_owned()),
            ..self.cluster_wide(name)
        }
    }

    /// Metadata of an object that lives in no namespace.
    pub(super) fn cluster_wide(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(self.labels()),
            annotations: Some(self.annotations()),
            ..ObjectMeta::default()
        }
    }
}
