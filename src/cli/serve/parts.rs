//! Building the platform from its settings.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use secrecy::ExposeSecret;
use tokio::sync::Notify;

use super::{
    Role,
    ready::{PlatformReadiness, readiness},
};
use crate::{
    api::{
        ApiMetrics, ForgeGit, ModelKeys, OpsContext, RunApi, RunApiParts, RunApiSettings,
        StaffContext,
        port::{Hint, WakeHandle},
    },
    apply::{self, Applier, ApplySettings},
    cluster::{
        Cluster,
        kube::{Connection, KubeCluster, KubeOptions},
        manifests::{ImagePullPolicy, NetworkTarget},
    },
    desired::source::{ConfigSource, Location, Reference, SourceSettings},
    domain::run_keys::RunKeys,
    forge::{
        Forge, ForgeMetrics,
        github::{GithubCredential, GithubForge, GithubSettings},
    },
    git::{Credential, CredentialSource},
    observed::forge::{ForgeObserver, PollSettings},
    plan::PlanSettings,
    reconcile::{
        Freshness, Reconciler, ReconcilerParts,
        config::{ConfigInForce, ConfigPoller},
        lease::{LeaseKeeper, LeaseState, LeaseTiming, TakerClock},
        pass::{self, PassParts, Passes},
    },
    settings::{ConfigLocation, ConfigRef, ForgeCredential, PullPolicy, Settings},
    store::{ApiStore, Store, StoreSettings},
    telemetry::metrics::Metrics,
};

/// A repository's checks and fetches may take longer than one request.
const PUSH_TIMEOUT: Duration = Duration::from_mins(1);

/// The platform's parts, built and not yet running.
pub(super) struct Platform {
    pub(super) settings: Settings,
    pub(super) metrics: Metrics,
    pub(super) forge_metrics: Arc<ForgeMetrics>,
    pub(super) wake: Arc<Notify>,
    /// Nothing of a process without that role talks to the cluster.
    pub(super) reconciler: Option<Reconciler>,
    store: Store,
    api_store: ApiStore,
    observer: Arc<ForgeObserver>,
    read_forge: Arc<dyn Forge>,
    keys: Arc<RunKeys>,
    in_force: ConfigInForce,
    lease: LeaseState,
    freshness: Freshness,
}

impl Platform {
    /// Connects to Postgres, and to the cluster where these roles need it, and puts
    /// everything together.
    pub(super) async fn build(settings: Settings, roles: &BTreeSet<Role>) -> anyhow::Result<Self> {
        let holder = format!("{}-{}", settings.replica, uuid::Uuid::new_v4().simple());
        tracing::info!(lease.holder = holder, "starting");
        let metrics = Metrics::new().context("register metrics")?;
        let store = Store::connect(&store_settings(&settings, false))
            .await
            .context("connect to Postgres")?;
        if !store
            .schema_is_current()
            .await
            .context("read the schema's version")?
        {
            bail!("the database is not migrated; hint: run `codex-k8s migrate` first");
        }
        let api_store = ApiStore::connect(&store_settings(&settings, true))
            .await
            .context("connect to Postgres with the API's login")?;
        let lease = LeaseState::default();
        let forge_metrics = Arc::new(ForgeMetrics::default());
        let writing_forge = forge(&settings, &holder, false, &lease, &forge_metrics)?;
        let read_forge = forge_reader(&settings, &holder, &lease, &forge_metrics)?;
        let keys = Arc::new(
            RunKeys::new(settings.run.token_keys.by_version())
                .context("take over the run token keys")?,
        );
        let in_force = ConfigInForce::default();
        let wake = Arc::new(Notify::new());
        let observer = Arc::new(ForgeObserver::new(
            Arc::clone(&writing_forge),
            settings.installation.clone(),
            PollSettings {
                visibility: settings.timing.visibility,
                sweep_every: settings.timing.sweep,
                ..PollSettings::default()
            },
        ));
        let built = Built {
            settings: &settings,
            holder: &holder,
            store: &store,
            metrics: &metrics,
            lease: &lease,
            in_force: &in_force,
        };
        let reconciler = if roles.contains(&Role::Reconciler) {
            let cluster = cluster(&settings, &holder, &lease).await?;
            let observer = Arc::clone(&observer);
            Some(built.reconciler(writing_forge, cluster, observer, &keys, &wake)?)
        } else {
            None
        };
        let freshness = reconciler.as_ref().map(Reconciler::freshness);
        let freshness = freshness.unwrap_or_default();
        Ok(Self {
            settings,
            metrics,
            forge_metrics,
            wake,
            reconciler,
            store,
            api_store,
            observer,
            read_forge,
            keys,
            in_force,
            lease,
            freshness,
        })
    }

    /// The run API.
    pub(super) fn run_api(&self, metrics: ApiMetrics) -> anyhow::Result<RunApi> {
        let timing = &self.settings.timing;
        let git_dir = self.settings.run.git_cache.clone();
        let models = &self.settings.run.models;
        RunApi::new(RunApiParts {
            store: Arc::new(self.api_store.clone()),
            remotes: Arc::new(ForgeGit::new(Arc::clone(&self.read_forge))),
            keys: Arc::clone(&self.keys),
            models: ModelKeys::new(
                models.keys.clone(),
                models.ca_bundle.as_deref(),
                models.proxy.as_ref(),
            )
            .context("prepare the way to providers of models")?,
            settings: RunApiSettings {
                heartbeat: timing.heartbeat,
                silence: timing.heartbeat_lost,
                push_bytes: self.settings.run.push_bytes,
                // In production three quarters of the minute that agents give a tool.
                tool_hold: timing.heartbeat * 2 + Duration::from_secs(5),
                ..RunApiSettings::production(git_dir)
            },
            metrics,
        })
    }

    /// The staff API and the webhook.
    pub(super) fn staff(&self, metrics: ApiMetrics) -> StaffContext {
        StaffContext {
            store: Arc::new(self.api_store.clone()),
            wake: Arc::new(Hinted {
                observer: Arc::clone(&self.observer),
            }),
            token: self.settings.api.token.clone(),
            webhook_secret: self.settings.api.webhook_secret.clone(),
            metrics,
        }
    }

    /// Health, readiness and metrics.
    pub(super) fn ops(&self, roles: &BTreeSet<Role>) -> OpsContext {
        OpsContext {
            readiness: readiness(PlatformReadiness {
                store: self.store.clone(),
                reconciles: roles.contains(&Role::Reconciler),
                in_force: self.in_force.clone(),
                freshness: self.freshness.clone(),
                lease: self.lease.clone(),
                stale_after: self
                    .settings
                    .timing
                    .unknown_alert
                    .max(self.settings.timing.poll_ceiling * 3),
            }),
            registry: self.metrics.registry().clone(),
        }
    }
}

/// Webhook hints go to the observer, which knows what is bound.
struct Hinted {
    observer: Arc<ForgeObserver>,
}

impl WakeHandle for Hinted {
    fn hint(&self, hint: Hint) {
        self.observer
            .hints()
            .hint(&hint.name, std::time::Instant::now());
    }
}

/// What the reconciler is built from.
struct Built<'a> {
    settings: &'a Settings,
    holder: &'a str,
    store: &'a Store,
    metrics: &'a Metrics,
    lease: &'a LeaseState,
    in_force: &'a ConfigInForce,
}

impl Built<'_> {
    fn reconciler(
        &self,
        forge: Arc<dyn Forge>,
        cluster: Arc<dyn Cluster>,
        observer: Arc<ForgeObserver>,
        keys: &Arc<RunKeys>,
        wake: &Arc<Notify>,
    ) -> anyhow::Result<Reconciler> {
        let timing = &self.settings.timing;
        let applier = Applier::new(
            self.store.clone(),
            forge,
            Arc::clone(&cluster),
            Arc::clone(keys),
            ApplySettings {
                call_timeout: timing.request_timeout,
                visibility: timing.visibility,
                concurrency: apply::CONCURRENCY,
            },
        );
        let passes = Passes::new(
            PassParts {
                store: self.store.clone(),
                cluster: Arc::clone(&cluster),
                applier,
                lease: self.lease.clone(),
                installation: self.settings.installation.clone(),
                settings: plan_settings(self.settings)?,
                metrics: self.metrics.clone(),
                concurrency: pass::CONCURRENCY,
            },
            self.in_force.clone(),
        );
        let keeper = LeaseKeeper::new(
            self.store.clone(),
            Arc::clone(&cluster),
            self.holder.to_owned(),
            LeaseTiming {
                lease: timing.lease,
                margin: timing.margin,
                taker: TakerClock::Both,
            },
            self.lease.clone(),
            self.metrics.clone(),
        );
        let source = Arc::new(ConfigSource::new(source_settings(self.settings)?));
        Ok(Reconciler::new(ReconcilerParts {
            store: self.store.clone(),
            cluster,
            observer,
            config: ConfigPoller::new(
                source,
                self.store.clone(),
                self.in_force.clone(),
                self.metrics.clone(),
            ),
            in_force: self.in_force.clone(),
            keeper,
            lease: self.lease.clone(),
            passes,
            poll: timing.poll,
            poll_ceiling: timing.poll_ceiling,
            metrics: self.metrics.clone(),
            wake: Arc::clone(wake),
            nudged: true,
            watch_local: local_config(self.settings),
        }))
    }
}

/// How requests of this replica name their sender.
fn user_agent(holder: &str) -> String {
    format!(
        concat!("codex-k8s/", env!("CARGO_PKG_VERSION"), " ({})"),
        holder
    )
}

fn store_settings(settings: &Settings, api: bool) -> StoreSettings {
    let url = if api {
        &settings.database.api_url
    } else {
        &settings.database.url
    };
    StoreSettings {
        max_connections: settings.database.max_connections,
        statement_timeout: settings.timing.statement_timeout,
        idle_in_tx_timeout: settings.timing.statement_timeout,
        application_name: if api { "codex-k8s-api" } else { "codex-k8s" }.to_owned(),
        ..StoreSettings::new(url.expose_secret())
    }
}

/// The forge as a command reads it, by the credential whose budget polling uses.
pub(crate) fn github_of(settings: &Settings, holder: &str) -> GithubSettings {
    github_settings(settings, holder, false)
}

fn github_settings(settings: &Settings, holder: &str, read_only: bool) -> GithubSettings {
    let forge = &settings.forge;
    let (name, credential) = if read_only {
        ("read", &forge.read_credential)
    } else {
        ("main", &forge.credential)
    };
    let credential = match credential {
        ForgeCredential::Token(token) => GithubCredential::Token(token.clone()),
        ForgeCredential::App(app) => GithubCredential::App {
            app_id: app.app_id,
            installation_id: app.installation,
            private_key: app.key.clone(),
        },
    };
    GithubSettings {
        graphql_url: Some(forge.graphql_url.clone()),
        web_url: Some(forge.git_url.clone()),
        user_agent: user_agent(holder),
        request_timeout: settings.timing.request_timeout,
        push_timeout: PUSH_TIMEOUT.min(settings.timing.request_timeout * 6),
        ..GithubSettings::new(forge.api_url.clone(), name, credential)
    }
}

fn forge(
    settings: &Settings,
    holder: &str,
    read_only: bool,
    lease: &LeaseState,
    metrics: &Arc<ForgeMetrics>,
) -> anyhow::Result<Arc<dyn Forge>> {
    let forge = GithubForge::new(
        github_settings(settings, holder, read_only),
        Arc::new(lease.clone()),
        Arc::clone(metrics),
    );
    Ok(Arc::new(
        forge
            .map_err(|error| anyhow!(error))
            .context("reach the forge")?,
    ))
}

/// The forge as the API roles see it: with the credential that only reads.
fn forge_reader(
    settings: &Settings,
    holder: &str,
    lease: &LeaseState,
    metrics: &Arc<ForgeMetrics>,
) -> anyhow::Result<Arc<dyn Forge>> {
    forge(settings, holder, true, lease, metrics)
}

/// The cluster behind the settings, with this gate before its writes.
pub(in crate::cli) async fn cluster(
    settings: &Settings,
    holder: &str,
    lease: &LeaseState,
) -> anyhow::Result<Arc<dyn Cluster>> {
    let connection = match &settings.cluster.kubeconfig {
        Some(path) => Connection::Kubeconfig {
            path: path.clone(),
            context: settings.cluster.context.clone(),
        },
        None => Connection::InCluster,
    };
    let options = KubeOptions {
        user_agent: user_agent(holder),
        request_timeout: settings.timing.request_timeout,
        ..KubeOptions::new(
            settings.installation.as_str(),
            &settings.cluster.platform_namespace,
        )
    };
    let cluster = KubeCluster::connect(&connection, options, Arc::new(lease.clone()))
        .await
        .context("reach the cluster")?;
    Ok(Arc::new(cluster))
}

/// What plans depend on.
pub(in crate::cli) fn plan_settings(settings: &Settings) -> anyhow::Result<PlanSettings> {
    let timing = &settings.timing;
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let url = &settings.run.url;
    let port = url
        .port_or_known_default()
        .context("the run API's URL has no port")?;
    let defaults = PlanSettings::default();
    let run_api = match &settings.run.cidr {
        Some(cidr) => NetworkTarget::Range {
            cidr: cidr.parse().context("read the run API's range")?,
            port,
        },
        None => NetworkTarget::Pods {
            namespace_labels: [(
                "kubernetes.io/metadata.name".to_owned(),
                settings.cluster.platform_namespace.clone(),
            )]
            .into(),
            pod_labels: std::collections::BTreeMap::new(),
            port: settings.run.listen.port(),
        },
    };
    let protected = settings
        .cluster
        .protected_cidrs
        .iter()
        .map(|cidr| cidr.parse());
    Ok(PlanSettings {
        visibility_seconds: seconds(timing.visibility),
        run_url: url.as_str().trim_end_matches('/').to_owned(),
        image_pull_policy: match settings.run.image_pull_policy {
            PullPolicy::IfNotPresent => ImagePullPolicy::IfNotPresent,
            PullPolicy::Always => ImagePullPolicy::Always,
            PullPolicy::Never => ImagePullPolicy::Never,
        },
        namespace_prefix: settings.cluster.namespace_prefix.clone(),
        run_api,
        protected: protected
            .collect::<Result<_, _>>()
            .context("read the protected ranges")?,
        token_key_version: settings.run.token_keys.current_version(),
        attempt_backoff_seconds: (seconds(timing.poll) / 3).max(1),
        orphan_grace_seconds: seconds(timing.orphan_grace),
        ..defaults
    })
}

fn source_settings(settings: &Settings) -> anyhow::Result<SourceSettings> {
    let config = &settings.config;
    let location = match &config.location {
        ConfigLocation::Remote(url) => Location::Remote(url.to_string()),
        ConfigLocation::Local(path) => Location::Local(path.clone()),
    };
    let reference = match &config.reference {
        ConfigRef::Branch(name) => Reference::Branch(name.clone()),
        ConfigRef::Tag(name) => Reference::Tag(name.clone()),
        ConfigRef::Sha(sha) => Reference::Sha(sha.clone()),
    };
    let cache = settings.run.git_cache.join("config");
    let mut source = SourceSettings::new(location, reference, cache);
    source.allow_rewind.clone_from(&config.allow_rewind);
    source.credential = config.token.clone().map(|token| {
        let username = config.username.clone();
        let source: CredentialSource = Arc::new(move || {
            Some(Credential::Basic {
                username: username.clone(),
                password: token.clone(),
            })
        });
        source
    });
    if let Some(path) = &config.ca_bundle {
        let bundle = std::fs::read(path).with_context(|| {
            format!(
                "read the config repo's certificates from {}",
                path.display()
            )
        })?;
        source.http.ca_bundle = Some(bundle);
    }
    source.http.proxy.clone_from(&config.proxy);
    Ok(source)
}

/// The config repo's folder, where it is local: watched to be early.
fn local_config(settings: &Settings) -> Option<PathBuf> {
    match &settings.config.location {
        ConfigLocation::Local(path) => Some(path.clone()),
        ConfigLocation::Remote(_) => None,
    }
}
