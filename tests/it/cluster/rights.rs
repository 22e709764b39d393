//! What each agent role may do, asked of the API server's authorizer for every resource
//! that it serves: exactly what is listed here, in its own namespace and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use ::kube::Client;
use ::kube::api::{Api, PostParams};
use codex_k8s::cluster::manifests::PodSecurityLevel;
use codex_k8s::plan::PlanSettings;
use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};

use super::support::{Caller, Run, installed, until};

/// What is asked for every resource.
const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

/// How many questions are under way.
const AT_ONCE: usize = 16;

/// What each role may read.
const READ: &str = "configmaps endpoints events limitranges persistentvolumeclaims pods pods/log \
    replicationcontrollers resourcequotas services apps/controllerrevisions apps/daemonsets \
    apps/deployments apps/replicasets apps/statefulsets autoscaling/horizontalpodautoscalers \
    batch/cronjobs batch/jobs discovery.k8s.io/endpointslices events.k8s.io/events \
    networking.k8s.io/ingresses networking.k8s.io/networkpolicies policy/poddisruptionbudgets";

/// What `edit` and `admin` may write.
const WRITE: &str = "configmaps persistentvolumeclaims pods replicationcontrollers services \
    apps/daemonsets apps/deployments apps/replicasets apps/statefulsets \
    autoscaling/horizontalpodautoscalers batch/cronjobs batch/jobs";

/// What they may scale.
const SCALE: &str = "replicationcontrollers/scale apps/deployments/scale apps/replicasets/scale \
    apps/statefulsets/scale";

/// What only `admin` may write.
const ADMIN_WRITE: &str = "networking.k8s.io/ingresses policy/poddisruptionbudgets";

/// Where only `admin` may go inside its pods.
const ADMIN_INSIDE: &str = "pods/attach pods/exec pods/portforward";

type Rights = BTreeSet<String>;

fn rights(resources: &str, verbs: &[&str]) -> Rights {
    let resources: Vec<_> = resources.split_whitespace().collect();
    let pairs = resources.iter().flat_map(|resource| {
        let verbs = verbs.iter();
        verbs.map(move |verb| format!("{verb} {resource}"))
    });
    pairs.collect()
}

/// What a profile may do.
fn expected(profile: Option<&str>) -> Rights {
    let mut all = Rights::new();
    let Some(profile) = profile else {
        return all;
    };
    all.extend(rights(READ, &["get", "list", "watch"]));
    if profile == "read" {
        return all;
    }
    let write = ["create", "update", "patch", "delete", "deletecollection"];
    all.extend(rights(WRITE, &write));
    all.extend(rights(SCALE, &["get", "update", "patch"]));
    if profile == "edit" {
        return all;
    }
    assert_eq!(profile, "admin");
    all.extend(rights(ADMIN_WRITE, &write));
    all.extend(rights(ADMIN_INSIDE, &["get", "create"]));
    all
}

/// Every resource and subresource that the server has, as `group/resource`.
async fn served(client: &Client) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    let core = client.list_core_api_resources("v1").await.unwrap();
    all.extend(
        core.resources
            .into_iter()
            .map(|it| (String::new(), it.name)),
    );
    for group in client.list_api_groups().await.unwrap().groups {
        for version in &group.versions {
            let listed = client.list_api_group_resources(&version.group_version);
            let listed = listed.await.unwrap().resources.into_iter();
            all.extend(listed.map(|it| (group.name.clone(), it.name)));
        }
    }
    // What RBAC guards although nothing is called so.
    for (group, resource) in [("", "users"), ("", "groups"), ("", "serviceaccounts/token")] {
        all.insert((group.to_owned(), resource.to_owned()));
    }
    assert!(all.len() > 80, "the server serves {all:?}");
    all
}

fn question(user: &str, namespace: &str, verb: &str, of: &(String, String)) -> SubjectAccessReview {
    let (resource, subresource) = match of.1.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub.to_owned())),
        None => (of.1.as_str(), None),
    };
    let home = user.split(':').nth(2).expect("a service account");
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.to_owned()),
            groups: Some(vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{home}"),
                "system:authenticated".to_owned(),
            ]),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some(verb.to_owned()),
                group: Some(of.0.clone()),
                resource: Some(resource.to_owned()),
                subresource,
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

async fn allowed(client: &Client, question: &SubjectAccessReview) -> bool {
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), question).await.unwrap();
    answer.status.expect("an answer").allowed
}

/// Everything that an account may do in a namespace (none: in all, and outside of all).
async fn found(
    client: &Client,
    user: &str,
    namespace: &str,
    verbs: &[&str],
    served: &BTreeSet<(String, String)>,
) -> Rights {
    let asked = served
        .iter()
        .flat_map(|of| verbs.iter().map(move |verb| (of, *verb)));
    stream::iter(asked)
        .map(|(of, verb)| async move {
            let name = match of.0.as_str() {
                "" => format!("{verb} {}", of.1),
                group => format!("{verb} {group}/{}", of.1),
            };
            let question = question(user, namespace, verb, of);
            allowed(client, &question).await.then_some(name)
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|name| async { name })
        .collect()
        .await
}

/// What any account may do: ask who it is and what it may do.
fn of_everybody() -> Rights {
    rights(
        "authentication.k8s.io/selfsubjectreviews authorization.k8s.io/selfsubjectaccessreviews \
         authorization.k8s.io/selfsubjectrulesreviews",
        &["create"],
    )
}

/// Both sides of what should be equal.
#[track_caller]
fn assert_same(what: &str, found: &Rights, expected: &Rights) {
    let more: Vec<_> = found.difference(expected).collect();
    let less: Vec<_> = expected.difference(found).collect();
    assert!(
        more.is_empty() && less.is_empty(),
        "{what}: may also {more:?}, may not {less:?}"
    );
}

#[tokio::test]
async fn an_agent_may_do_in_its_namespace_what_its_role_says_and_nothing_elsewhere() {
    let Some(cluster) = installed().await else {
        return;
    };
    let client = Caller::administrator(&cluster).await.client;
    let served = served(&client).await;
    let other = Run::start(&cluster, PodSecurityLevel::Restricted, None).await;
    let mut profiles: BTreeMap<Option<String>, Option<String>> = PlanSettings::default()
        .roles
        .into_iter()
        .map(|(profile, role)| (Some(profile), Some(role)))
        .collect();
    profiles.insert(None, None);
    for (profile, role) in profiles {
        let run = Run::start(&cluster, PodSecurityLevel::Restricted, role.as_deref()).await;
        let (user, profile) = (run.account(), profile.as_deref());
        let mut expected = expected(profile);
        // A binding counts once the authorizer has noticed it.
        if profile.is_some() {
            let pods = (String::new(), "pods".to_owned());
            let question = question(&user, run.namespace(), "list", &pods);
            until("the binding counts", || async {
                allowed(&client, &question).await.then_some(())
            })
            .await;
        }
        expected.extend(of_everybody());
        let home = found(&client, &user, run.namespace(), &VERBS, &served).await;
        assert_same(&format!("{profile:?} at home"), &home, &expected);
        for place in ["", "codex-k8s", "kube-system", other.namespace()] {
            let verbs = ["get", "list", "create", "patch", "delete"];
            let there = found(&client, &user, place, &verbs, &served).await;
            let what = format!("{profile:?} in namespace {place:?}");
            assert_same(&what, &there, &of_everybody());
        }
        run.end().await;
    }
    other.end().await;
}

#[test]
fn no_role_is_expected_to_reach_what_holds_agents_in() {
    let all = expected(Some("admin"));
    for right in &all {
        let (verb, resource) = right.split_once(' ').unwrap();
        assert!(!resource.starts_with("secrets"), "{right}");
        let holds = [
            "limitranges",
            "networkpolicies",
            "resourcequotas",
            "serviceaccounts",
            "roles",
            "bindings",
        ];
        if holds.iter().any(|of| resource.contains(of)) {
            assert!(["get", "list", "watch"].contains(&verb), "{right}");
        }
    }
}
