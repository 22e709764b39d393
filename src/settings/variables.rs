//! The registry of variables: the one list of what a process can be told.
//!
//! A variable `CODEXK8S_DATABASE_URL` is the file's key `database.url`; a secret
//! one can also come from a file: `CODEXK8S_DATABASE_URL_FILE`, `database.urlFile`.

/// What every variable's name starts with.
pub const PREFIX: &str = "CODEXK8S_";

/// The variable that names the settings file; it is no key of that file.
pub const CONFIG_FILE: &str = "CODEXK8S_CONFIG";

/// One thing that a process can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// Its dotted key in the settings file.
    pub key: &'static str,
    /// What counts where nothing is given.
    pub default: Option<&'static str>,
    /// The default in words, where it is worked out from other settings.
    pub derived: Option<&'static str>,
    /// Whether it is never printed and may come from a file.
    pub secret: bool,
    /// What it means, for the reference page.
    pub help: &'static str,
}

macro_rules! field {
    () => {
        None
    };
    ($value:literal) => {
        Some($value)
    };
}

macro_rules! secrecy {
    (secret) => {
        true
    };
    (plain) => {
        false
    };
}

macro_rules! variables {
    ($($name:ident $kind:ident $key:literal $(= $default:literal)? $(~ $derived:literal)?, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $name: Variable = Variable {
                name: concat!("CODEXK8S_", stringify!($name)),
                key: $key,
                default: field!($($default)?),
                derived: field!($($derived)?),
                secret: secrecy!($kind),
                help: $help,
            };
        )*

        /// Every variable, in the order of the reference page.
        pub const ALL: &[Variable] = &[$($name),*];
    };
}

variables! {
    INSTALLATION_ID plain "installationId",
        "The installation that owns what it marks: lower-case letters, digits and inner dashes, at most 40. Required, and never kept in the database.";

    REPLICA plain "replica" ~ "the host's name",
        "What this process is called in the lease and in the `User-Agent` of its requests, so that a forge's and a cluster's logs tell replicas apart: letters, digits, dots and dashes, at most 63.";

    DATABASE_URL secret "database.url",
        "PostgreSQL URL of the reconciler's login. Required.";
    API_DATABASE_URL secret "database.apiUrl" ~ "`CODEXK8S_DATABASE_URL`",
        "PostgreSQL URL of the API roles' login, which may only insert facts.";
    DATABASE_MAX_CONNECTIONS plain "database.maxConnections" = "10",
        "Connections that one process keeps at most, per login.";

    CONFIG_SOURCE plain "config.source",
        "The config repo: an `https` URL, or the path of a local Git repository. Required.";
    CONFIG_REF plain "config.ref" = "branch:main",
        "What of it is followed: `branch:NAME`, `tag:NAME` or `sha:ID`.";
    CONFIG_USERNAME plain "config.username" = "x-access-token",
        "The user name that goes with the token.";
    CONFIG_TOKEN secret "config.token",
        "The token that reads the config repo.";
    CONFIG_CA_BUNDLE plain "config.caBundle",
        "A PEM file of further certificates to trust for the config repo.";
    CONFIG_PROXY plain "config.proxy",
        "The HTTP proxy through which the config repo is read.";
    CONFIG_ALLOW_REWIND plain "config.allowRewind",
        "The one commit that may be accepted although it does not descend from the last accepted one.";

    FORGE_API_URL plain "forge.apiUrl" = "https://api.github.com",
        "The forge's REST API; for GitHub Enterprise Server `https://HOST/api/v3`.";
    FORGE_GRAPHQL_URL plain "forge.graphqlUrl" ~ "from `CODEXK8S_FORGE_API_URL`",
        "The forge's GraphQL API.";
    FORGE_GIT_URL plain "forge.gitUrl" ~ "from `CODEXK8S_FORGE_API_URL`",
        "Where the forge serves Git over HTTP: repositories are at `URL/OWNER/NAME.git`.";
    FORGE_TOKEN secret "forge.token",
        "The token of the reconciler, which writes. Either this or a GitHub App is required.";
    FORGE_APP_ID plain "forge.appId",
        "The GitHub App's id.";
    FORGE_APP_INSTALLATION plain "forge.appInstallation",
        "The installation id of the GitHub App.";
    FORGE_APP_KEY secret "forge.appKey",
        "The GitHub App's private key in PEM.";
    FORGE_READ_TOKEN secret "forge.readToken" ~ "the reconciler's credential",
        "A token that only reads, for the API roles.";

    KUBECONFIG plain "cluster.kubeconfig" ~ "the in-cluster account",
        "The kubeconfig file of the cluster that runs work in.";
    KUBE_CONTEXT plain "cluster.context" ~ "the file's current context",
        "The context of the kubeconfig file.";
    PLATFORM_NAMESPACE plain "cluster.platformNamespace" = "codex-k8s",
        "The namespace that the platform itself lives in.";
    NAMESPACE_PREFIX plain "cluster.namespacePrefix" = "codex-issue",
        "What the names of run namespaces start with.";
    PROTECTED_CIDRS plain "cluster.protectedCidrs",
        "Address ranges that no run may reach, whatever policy allows: API server and nodes.";

    RUN_LISTEN plain "run.listen" = "127.0.0.1:8082",
        "Where the run API listens: the one port that run namespaces may reach.";
    RUN_URL plain "run.url" ~ "`http://` and `CODEXK8S_RUN_LISTEN`",
        "The run API as Jobs are told to reach it.";
    RUN_CIDR plain "run.cidr" ~ "the pods of the platform's namespace",
        "The addresses of the run API, where it is outside the cluster.";
    RUN_TOKEN_KEYS secret "run.tokenKeys",
        "The keys that run tokens are made with: `VERSION:HEX,…` with 32 bytes or more each. The highest version makes new tokens. Required.";
    RUN_IMAGE plain "run.image",
        "The image of agent pods whose policy names none.";
    RUN_IMAGE_PULL_POLICY plain "run.imagePullPolicy" = "IfNotPresent",
        "When nodes pull that image: `IfNotPresent`, `Always` or `Never`.";
    RUN_LOG_CHUNK_BYTES plain "run.logChunkBytes" = "256KiB",
        "The largest log chunk that the run API takes.";
    RUN_LOG_TOTAL_BYTES plain "run.logTotalBytes" = "64MiB",
        "The log that is kept of one attempt at most.";
    RUN_PUSH_BYTES plain "run.pushBytes" = "64MiB",
        "The largest pack that an agent may push.";
    RUN_GIT_CACHE plain "run.gitCache" = "/var/cache/codex-k8s/git",
        "The folder where repositories are kept to check pushes.";

    MODEL_KEYS plain "models.keys",
        "A folder with the key of each provider of models, in a file of the provider's name. It is read at each call.";
    MODEL_CA_BUNDLE plain "models.caBundle",
        "A PEM file of further certificates to trust for providers of models.";
    MODEL_PROXY plain "models.proxy" ~ "what `HTTPS_PROXY` and `NO_PROXY` say",
        "The HTTP proxy through which providers of models are reached.";

    API_LISTEN plain "api.listen" = "127.0.0.1:8080",
        "Where the staff API and the webhook listen.";
    API_TOKEN secret "api.token",
        "The bearer token of the staff API. Without it the staff API answers nobody.";
    WEBHOOK_SECRET secret "api.webhookSecret",
        "The secret that webhooks are signed with. Without it the webhook is off; nothing but latency depends on it.";
    OPS_LISTEN plain "ops.listen" = "127.0.0.1:8081",
        "Where health and metrics listen.";

    PROFILE plain "timing.profile" = "production",
        "The set of times that counts where a time is not given: `production` or `sandbox`.";
    TIMING_POLL plain "timing.poll" ~ "30s / 2s",
        "How often forge and config repo are polled.";
    TIMING_POLL_CEILING plain "timing.pollCeiling" ~ "5m / 20s",
        "How long the period of polling the forge may become while its budget would not last at the shorter one.";
    TIMING_SWEEP plain "timing.sweep" ~ "15m / 30s",
        "How often everything is read again, to catch what polling missed.";
    TIMING_LEASE plain "timing.lease" ~ "60s / 9s",
        "How long the reconciler's lease lasts.";
    TIMING_MARGIN plain "timing.margin" ~ "12s / 2s",
        "How long before the lease's end the last write leaves.";
    TIMING_REQUEST_TIMEOUT plain "timing.requestTimeout" ~ "10s / 1.5s",
        "How long a writing request may take; shorter than the margin.";
    TIMING_STATEMENT_TIMEOUT plain "timing.statementTimeout" ~ "15s / 2.5s",
        "How long a database statement or an idle transaction may last; below a third of the lease.";
    TIMING_VISIBILITY plain "timing.visibility" ~ "60s / 3s",
        "How long the forge may hide a write from its own reads.";
    TIMING_HEARTBEAT plain "timing.heartbeat" ~ "20s / 2s",
        "How often a runner says that it is at work.";
    TIMING_HEARTBEAT_LOST plain "timing.heartbeatLost" ~ "5m / 30s",
        "After how long without an accepted heartbeat a runner ends itself.";
    TIMING_ORPHAN_GRACE plain "timing.orphanGrace" ~ "10m / 10s",
        "How long an object that no run knows is left alone.";
    TIMING_UNKNOWN_ALERT plain "timing.unknownAlert" ~ "10m / 30s",
        "After how long something unknown is an alert.";

    LOG_FORMAT plain "log.format" = "auto",
        "How log lines look: `json`, `human`, or `auto` (human on a terminal).";
    LOG plain "log.filter" = "info",
        "What is logged: a level, or directives such as `info,codex_k8s::plan=debug`.";
}

/// The variable of a name in the environment, its `_FILE` variant included.
pub fn of_name(name: &str) -> Option<&'static Variable> {
    ALL.iter().find(|variable| {
        name == variable.name
            || variable.secret && name.strip_suffix("_FILE") == Some(variable.name)
    })
}

/// The variable of a key in the file, its `File` variant included.
pub(super) fn of_key(key: &str) -> Option<&'static Variable> {
    ALL.iter().find(|variable| {
        key == variable.key || variable.secret && key.strip_suffix("File") == Some(variable.key)
    })
}
