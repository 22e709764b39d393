//! What an agent tries at the platform's listeners and in its own container, and what refuses it.

use serde_json::{Value, json};

use super::attack::{Attack, Audit, Kind, attack, request};

static TOKENS: Kind = Kind {
    what: "speak for another run, an older attempt or nobody at the run API",
    guard: "the run token: a MAC over key version, run and attempt, held against the run's row",
    audit: Audit::RunApi,
};
static REACH: Kind = Kind {
    what: "reach by its own token what is not its run's: another run's facts, another repository, models",
    guard: "the run API: no call names a run, repository or key; a model only as launched",
    audit: Audit::RunApi,
};
static PUSHES: Kind = Kind {
    what: "push what is not its branch, go back, delete, or change what executes in CI",
    guard: "the run API: a push is checked in a quarantine",
    audit: Audit::Push,
};
static STAFF: Kind = Kind {
    what: "approve itself, or read what people read",
    guard: "the staff API takes the staff token alone, on a listener of its own",
    audit: Audit::StaffApi,
};
static CONTAINER: Kind = Kind {
    what: "get more out of its container: root, mounts, devices, other namespaces, its image",
    guard: "the pod: no root, no capabilities, no new privileges, seccomp, read-only root",
    audit: Audit::Nowhere,
};

/// All of them.
pub(super) fn attacks() -> Vec<Attack> {
    let mut all = forged();
    all.extend(beyond());
    all.extend(staff());
    all.extend(pushes());
    all.extend(container());
    all
}

fn with_token(name: &str, path: &str, token: &str) -> Value {
    let mut step = request(name, "run", "GET", path);
    step["token"] = json!(token);
    step
}

fn forged() -> Vec<Attack> {
    let facts = "/run/v1/facts";
    let tokens = [
        ("no token", ""),
        ("words for a token", "let-me-in"),
        (
            "its token, made out to another run",
            "{{token_of_other_run}}",
        ),
        (
            "its token, made out to the next attempt",
            "{{token_of_next_attempt}}",
        ),
        (
            "its token, made out to another key",
            "{{token_of_other_key}}",
        ),
        ("its account's token", "{{account_token}}"),
    ];
    let mut all: Vec<Attack> = tokens
        .iter()
        .map(|(name, token)| {
            let step = with_token(name, facts, token);
            attack(&TOKENS, step, 401, &["\"unauthorized\""])
        })
        .collect();
    let old = "{{token_of_last_attempt}}";
    for (name, path) in [
        ("the last attempt's token, for facts", facts),
        (
            "the last attempt's token, for Git",
            "/run/v1/git/info/refs?service=git-receive-pack",
        ),
    ] {
        let step = with_token(name, path, old);
        all.push(attack(&TOKENS, step, 409, &["\"attempt_superseded\""]));
    }
    all
}

fn beyond() -> Vec<Attack> {
    let get = |name: &str, path: &str| request(name, "run", "GET", path);
    let mut model = request(
        "another provider's models",
        "run",
        "POST",
        "/run/v1/models/openai/v1/responses",
    );
    model["body"] = json!({"model": "gpt-5.2-codex", "input": "hello"});
    vec![
        attack(
            &REACH,
            get("another run's facts", "/run/v1/runs/{{other_run}}/facts"),
            404,
            &["no such path"],
        ),
        attack(
            &REACH,
            get(
                "another repository",
                "/run/v1/git/example-org/notes/info/refs?service=git-upload-pack",
            ),
            404,
            &["no such path"],
        ),
        attack(
            &REACH,
            get(
                "another repository by dots",
                "/run/v1/git/../../example-org/notes.git/info/refs?service=git-upload-pack",
            ),
            404,
            &["no such path"],
        ),
        attack(
            &REACH,
            get("the staff API on the run listener", "/api/v1/runs"),
            404,
            &["no such path"],
        ),
        attack(
            &REACH,
            get("metrics on the run listener", "/metrics"),
            404,
            &["no such path"],
        ),
        attack(&REACH, model, 404, &["this run has no provider `openai`"]),
    ]
}

fn staff() -> Vec<Attack> {
    let at = |name: &str, method: &str, path: &str, token: &str| {
        let mut step = request(name, "{{staff}}", method, path);
        step["token"] = json!(token);
        attack(&STAFF, step, 401, &["\"unauthorized\""])
    };
    let mut decide = at(
        "approve by its run token",
        "POST",
        "/api/v1/approvals/ABCD-EFGH/decision",
        "{{token}}",
    );
    decide.step["body"] = json!({"verdict": "approve", "as": "ada"});
    vec![
        at("read runs", "GET", "/api/v1/runs", "{{token}}"),
        at(
            "read another run's logs",
            "GET",
            "/api/v1/runs/{{other_run}}/logs",
            "{{token}}",
        ),
        at("read approvals as nobody", "GET", "/api/v1/approvals", ""),
        at(
            "read runs by its account's token",
            "GET",
            "/api/v1/runs",
            "{{account_token}}",
        ),
        decide,
    ]
}

/// The decision on its own request, with the code that it cannot know.
pub(super) fn approve_with_code(code: &str) -> Attack {
    let path = format!("/api/v1/approvals/{code}/decision");
    let mut step = request("approve with the right code", "{{staff}}", "POST", &path);
    step["token"] = json!("{{token}}");
    step["body"] = json!({"verdict": "approve", "as": "ada"});
    attack(&STAFF, step, 401, &["\"unauthorized\""])
}

/// A change on top of its branch, and what is done with it.
fn with_change(file: &str, push: &str) -> String {
    format!(
        "set -e; git reset -q --hard start; mkdir -p \"$(dirname {file})\"; echo x >> {file}; \
         git add {file}; git commit -q -m 'Change {file}'; git push origin {push}"
    )
}

fn pushes() -> Vec<Attack> {
    let only = "this run may push {{branch}} only";
    let step = |name: &str, script: &str| json!({"name": name, "sh": script});
    let refused = |name: &str, script: &str, why: &'static str| {
        let words = ["[remote rejected]", why];
        let mut refused = attack(&PUSHES, step(name, script), 1, &words);
        refused.logged = Some(why);
        refused
    };
    // Git does not even ask: that a server is told to delete takes a client of one's own.
    let deleted = |name: &str, branch: &str, why: &'static str| {
        let (old, none) = ("1".repeat(40), "0".repeat(40));
        let line = format!("{old} {none} refs/heads/{branch}\0report-status delete-refs\n");
        // The branch's name is filled in there: its length is not known here.
        let mut step = request(name, "run", "POST", "/run/v1/git/git-receive-pack");
        step["type"] = json!("application/x-git-receive-pack-request");
        step["line"] = json!(line);
        let mut deleted = attack(&PUSHES, step, 200, &["ng refs/heads/", why]);
        deleted.logged = Some(why);
        deleted
    };
    let to = |name: &str, to: &str| refused(name, &with_change("more.txt", to), only);
    let executed = |file: &str| {
        let name = format!("change {file}");
        let script = with_change(file, "HEAD:refs/heads/{{branch}}");
        refused(
            &name,
            &script,
            "executes in the target's CI and may not be changed by runs",
        )
    };
    let rewritten = "git reset -q --hard start; git commit -q --amend -m 'Another past'; \
                     git push --force origin HEAD:refs/heads/{{branch}}";
    let both = "HEAD:refs/heads/{{branch}} HEAD:refs/heads/more";
    vec![
        to("push the base branch", "HEAD:refs/heads/main"),
        to(
            "push another run's branch",
            "HEAD:refs/heads/{{other_branch}}",
        ),
        to("push a new branch", "HEAD:refs/heads/more"),
        to("push a tag", "HEAD:refs/tags/v1"),
        to("push a ref of a pull request", "HEAD:refs/pull/1/head"),
        refused(
            "push two branches",
            &with_change("more.txt", both),
            "push {{branch}} alone",
        ),
        deleted("delete the base branch", "main", only),
        deleted(
            "delete its branch",
            "{{branch}}",
            "branches are not deleted by runs",
        ),
        refused("force its branch back", rewritten, "non-fast-forward"),
        executed(".github/workflows/more.yml"),
        executed(".GitHub/Workflows/more.yml"),
        executed(".gitlab-ci.yml"),
    ]
}

fn container() -> Vec<Attack> {
    let refused = |name: &str, script: &str, status: i64, words: &str| {
        let step = json!({"name": name, "sh": script});
        attack(&CONTAINER, step, status, &[words])
    };
    // The image has no programs for these.
    let call = |name: &str, call: &str, arguments: &str| {
        let script = format!(
            "perl -e 'require \"syscall.ph\"; my @a = ({arguments}); \
             syscall(&SYS_{call}, @a) == 0 or print \"$!\\n\" and exit 1'"
        );
        refused(name, &script, 1, "Operation not permitted")
    };
    vec![
        call("become root", "setuid", "0"),
        call("change its root", "chroot", "\"/tmp\""),
        call("mount", "mount", "\"none\", \"/tmp\", \"tmpfs\", 0, 0"),
        call("a device", "mknod", "\"/tmp/device\", 0060666, 0x800"),
        call("the node's clock", "settimeofday", "pack(\"qq\", 1, 0), 0"),
        call("the network's namespace", "unshare", "0x40000000"),
        call("a user namespace", "unshare", "0x10000000"),
        call(
            "another process's kernel keys",
            "add_key",
            "\"user\", \"x\", \"y\", 1, -3",
        ),
        refused(
            "write into its image",
            "echo x > /usr/local/bin/more",
            1,
            "Read-only file system",
        ),
        refused(
            "write its token",
            "echo x > /var/run/codex-k8s/token/token",
            1,
            "Read-only file system",
        ),
        refused(
            "read the kernel's log",
            "dd if=/dev/kmsg of=/dev/null count=1",
            1,
            "kmsg",
        ),
        refused(
            "set a parameter of the kernel",
            "echo 1 > /proc/sys/kernel/panic",
            1,
            "Read-only file system",
        ),
        refused(
            "the runtime's socket",
            "ls /run/containerd/containerd.sock /var/run/docker.sock",
            2,
            "No such file or directory",
        ),
    ]
}

/// What it may do, by the same means.
pub(super) fn controls() -> Vec<(Value, i64, &'static str)> {
    let push = "set -e; echo x > of-its-own.txt; git add of-its-own.txt; \
                git commit -q -m 'A change of its own'; git tag start; \
                git push origin HEAD:refs/heads/{{branch}} 2>&1";
    let script = |name: &str, script: &str| json!({"name": name, "sh": script});
    let bounds =
        "grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t' ' '";
    vec![
        (
            request("its facts", "run", "GET", "/run/v1/facts"),
            200,
            "{{branch}}",
        ),
        (script("push its branch", push), 0, "-> {{branch}}"),
        (
            script(
                "fetch its repository",
                "git fetch origin 2>&1 && git log -1 --format=seen:%h origin/main",
            ),
            0,
            "seen:",
        ),
        (
            script("what bounds it", bounds),
            0,
            "NoNewPrivs: 1\nSeccomp: 2",
        ),
        (
            script("no capability", bounds),
            0,
            "CapEff: 0000000000000000\nCapBnd: 0000000000000000",
        ),
        (
            script(
                "write where it works",
                "echo x > /work/x && rm /work/x && echo written",
            ),
            0,
            "written",
        ),
    ]
}

/// The last step: what it hands in is what it found, and none of what was refused.
pub(super) fn back() -> Value {
    json!({"name": "back to its own change", "sh": "git reset -q --hard start"})
}

/// Everything that a process of its user can read of itself, the runner and its mounts.
pub(super) fn loot() -> Value {
    let script = "for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ; tr '\\0' ' ' < $p/cmdline; done; \
        git config --list; \
        grep -rIs '' /work /home /tmp /run /var/run --exclude-dir=objects --exclude='plan-*.json'; \
        cat /proc/self/mountinfo";
    json!({"name": "all that it can read", "sh": script, "keep": 1_000_000})
}
