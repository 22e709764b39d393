//! The next page of a list is asked for too late: the server has forgotten the state
//! that the list began with, and says so by 410.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use codex_k8s::cluster::manifests::{RunEnvironment, environment_objects};
use codex_k8s::cluster::{Cluster, ErrorClass};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_expires_between_its_pages_is_an_error_and_whole_the_next_time() {
    let server = Arc::new(Server::model(Arc::new(Sleeper)).await);
    let environment = environment(server.identity());
    let model = Arc::clone(&server);
    a_list_expires(&server, &environment, move || {
        let model = Arc::clone(&model);
        Box::pin(async move { model.knobs().compact() })
    })
    .await;
}

/// What makes the server forget; called twice.
type Forget = dyn Fn() -> BoxFuture<'static, ()> + Send + Sync;

/// Lists and watches in pages of one object, while the server forgets between the pages.
pub(super) async fn a_list_expires(
    server: &Server,
    environment: &RunEnvironment,
    forget: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
) {
    let direct = server.cluster().await;
    let objects = environment_objects(environment);
    apply_all(&direct, &objects).await;
    let whole = direct.list_owned().await.unwrap();
    let between = Between::start(server, environment, Arc::new(forget)).await;
    let paged = server.through(between.url()).await;

    between.arm().await;
    let refused = paged.list_owned().await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Gone, "{refused}");
    let after = paged.list_owned().await.unwrap();
    assert_eq!(after.objects, whole.objects);

    // A watch begins with such a list, and begins anew where it expires.
    between.arm().await;
    paged.watch();
    cached(&paged, "the watches show all", |seen| {
        seen.objects == whole.objects
    })
    .await;
    assert!(
        !between.is_armed().await,
        "no watch asked for a second page"
    );
    clean_up(&direct, environment).await;
}

/// Stands between the adapter and the server. Once it is armed, the server forgets what
/// was before the next request for a further page.
struct Between {
    address: std::net::SocketAddr,
    state: Arc<Passing>,
    _task: AbortOnDropHandle<()>,
}

struct Passing {
    client: kube::Client,
    namespace: String,
    forget: Arc<Forget>,
    armed: Mutex<bool>,
}

impl Between {
    async fn start(server: &Server, environment: &RunEnvironment, forget: Arc<Forget>) -> Self {
        let state = Arc::new(Passing {
            client: server.somebody().await,
            namespace: environment.namespace.clone(),
            forget,
            armed: Mutex::new(false),
        });
        let router = axum::Router::new()
            .fallback(pass_on)
            .with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            state,
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn arm(&self) {
        *self.state.armed.lock().await = true;
    }

    async fn is_armed(&self) -> bool {
        *self.state.armed.lock().await
    }
}

async fn pass_on(State(passing): State<Arc<Passing>>, request: Request) -> Response {
    let further = request.uri().query().unwrap_or_default();
    if further.contains("continue=") {
        let mut armed = passing.armed.lock().await;
        if std::mem::take(&mut *armed) {
            passing.something_happens().await;
            (passing.forget)().await;
        }
    }
    let place = request.uri().path_and_query().unwrap().to_string();
    let accept = request.headers().get(http::header::ACCEPT).cloned();
    // The server may be away, and a connection that broke is noticed by who uses it.
    for _ in 0..50 {
        let mut onward = http::Request::get(&place);
        if let Some(accept) = &accept {
            onward = onward.header(http::header::ACCEPT, accept);
        }
        let onward = onward.body(kube::client::Body::empty()).unwrap();
        if let Ok(answer) = passing.client.send(onward).await {
            return answer.map(axum::body::Body::new);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    http::StatusCode::SERVICE_UNAVAILABLE.into_response()
}

impl Passing {
    /// A change, so that the state of the list's first page is not the newest.
    async fn something_happens(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let note = json!({"metadata": {"annotations": {
            "example.org/at": format!("{:?}", std::time::Instant::now())}}});
        let patch = Patch::Merge(&note);
        let params = PatchParams::default();
        let patched = namespaces.patch(&self.namespace, &params, &patch);
        patched.await.unwrap();
    }
}
