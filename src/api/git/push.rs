//! Pushes: received into a quarantine, judged, stored as a fact with their pack,
//! and answered when the lease holder has pushed them on.
//!
//! *Guarantees*: nothing reaches the forge from here; what is refused is not
//! stored; the same commit pushed again is answered from the same fact.

use std::{convert::Infallible, path::Path, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, header},
    response::Response,
};
use futures::{SinkExt, StreamExt, channel::mpsc};
use tokio::{fs::File, io::AsyncWriteExt, time::Instant};

use crate::domain::{
    fact::{PushFact, PushOutcome},
    ids::CommitSha,
    run_api::PUSH_PENDING,
};

use super::{
    super::{
        body,
        error::{ApiError, ApiResult},
        port::GitRemote,
        run::{Caller, RunApi},
        staff,
    },
    GitError,
    cache::{Copy, Quarantine, branch_ref},
    check, git_answer, git_failed, live_caller,
    pkt::{self, Commands, MAX_COMMAND_BYTES},
    remote,
    secrets::{self, KnownSecrets},
};

const ADVERTISEMENT: &str = "application/x-git-receive-pack-advertisement";
const RESULT: &str = "application/x-git-receive-pack-result";
/// Between two looks for the outcome.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two signs of life.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What a push came to before it is passed on.
enum Judged {
    /// Nothing was asked: git looks whether it is let in.
    Nothing,
    /// The forge has that commit already.
    AlreadyThere(Commands),
    /// It breaks a rule.
    Refused(Commands, String),
    /// It is stored under this fact.
    Stored(Commands, i64),
}

/// The refs as a push sees them: the run's branch and its base.
pub(super) async fn advertise(
    api: &RunApi,
    caller: &Caller,
    remote: &GitRemote,
) -> ApiResult<Response> {
    let copy = refreshed(api, caller, remote).await?;
    let target = Target::of(caller, &copy).await?;
    let mut refs = vec![(
        branch_ref(&caller.frozen()?.base_branch),
        target.base.clone(),
    )];
    if let Some(head) = target.head {
        refs.push((branch_ref(&target.branch), head));
    }
    refs.sort();
    let have = copy.recent(&target.base).await;
    let have = have.map_err(|error| git_failed(&error))?;
    Ok(git_answer(
        ADVERTISEMENT,
        pkt::advertisement(&refs, &have).into(),
    ))
}

/// Takes a push.
pub(crate) async fn receive_pack(
    State(api): State<RunApi>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let caller = live_caller(&api, &headers).await?;
    let handed_in = api.store.has_result(caller.run(), caller.attempt()).await;
    if handed_in.map_err(staff::refused)? {
        let message = "this attempt has handed in its result";
        return Err(ApiError::conflict("result_handed_in", message));
    }
    let judged = judge(&api, &caller, &headers, body).await?;
    let count = |outcome: &str| api.metrics.pushes.with_label_values(&[outcome]).inc();
    let body = match judged {
        Judged::Nothing => Body::empty(),
        Judged::AlreadyThere(commands) => {
            count("already_there");
            pkt::report(&commands, None).into()
        }
        Judged::Refused(commands, reason) => {
            count("refused");
            tracing::info!(run.id = %caller.run(), reason, "refused a push");
            pkt::report(&commands, Some(&reason)).into()
        }
        Judged::Stored(commands, fact) => {
            count("stored");
            tracing::info!(run.id = %caller.run(), fact.id = fact, "stored a push");
            awaited(&api, commands, fact)
        }
    };
    Ok(git_answer(RESULT, body))
}

/// Where the run's branch and its base stand at the forge.
struct Target {
    branch: crate::domain::ids::BranchName,
    head: Option<CommitSha>,
    base: CommitSha,
}

impl Target {
    async fn of(caller: &Caller, copy: &Copy) -> ApiResult<Self> {
        let base_branch = &caller.frozen()?.base_branch;
        let Some(branch) = caller.access.branch.clone() else {
            return Err(ApiError::internal());
        };
        let failed = |error| git_failed(&error);
        let head = copy.head(&branch).await.map_err(failed)?;
        let base = copy.head(base_branch).await.map_err(failed)?;
        let base = base.ok_or_else(|| {
            ApiError::bad_gateway(format!("the base branch {base_branch} is not there"))
        })?;
        Ok(Self { branch, head, base })
    }
}

async fn refreshed(api: &RunApi, caller: &Caller, remote: &GitRemote) -> ApiResult<Copy> {
    let repository = caller.access.repository;
    let copy = api.caches.refreshed(repository, remote).await;
    copy.map_err(|error| git_failed(&error))
}

async fn judge(
    api: &RunApi,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> ApiResult<Judged> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(ApiError::bad_request("pushes are taken uncompressed"));
    }
    let spool = tempfile::tempdir().map_err(|error| git_failed(&error.into()))?;
    let path = spool.path().join("push");
    let commands = spooled(headers, body, &path, api.settings.push_bytes).await?;
    if commands.refs.is_empty() && !commands.shallow {
        return Ok(Judged::Nothing);
    }
    if !caller.frozen()?.changes_files() {
        let reason = "runs of this stage change no files; say it in the result";
        return Ok(Judged::Refused(commands, reason.to_owned()));
    }
    let remote = remote(api, caller).await?;
    let copy = refreshed(api, caller, &remote).await?;
    let target = Target::of(caller, &copy).await?;
    let (command, new) = match check::well_formed(&commands, &target.branch) {
        Ok(found) => found,
        Err(reason) => return Ok(Judged::Refused(commands, reason)),
    };
    if target.head.as_ref() == Some(&new) {
        return Ok(Judged::AlreadyThere(commands));
    }
    let accepted = caller.access.accepted_head.as_ref();
    if let Err(reason) = check::expected_old(command, target.head.as_ref(), accepted) {
        return Ok(Judged::Refused(commands, reason));
    }
    let known = secrets::known(api, caller, &remote).await;
    let judged = examined(api, caller, &copy, &target, &new, &path, &known).await;
    match judged.map_err(|error| git_failed(&error))? {
        Err(reason) => Ok(Judged::Refused(commands, reason)),
        Ok(pack) => {
            let fact = stored(api, caller, target, new, pack).await?;
            Ok(Judged::Stored(commands, fact))
        }
    }
}

/// Writes the body to a file, limit first, and reads the commands at its start.
async fn spooled(
    headers: &HeaderMap,
    body: Body,
    path: &Path,
    pack_bytes: u64,
) -> ApiResult<Commands> {
    let limit = pack_bytes + MAX_COMMAND_BYTES as u64;
    if body::announced(headers).is_some_and(|length| length > limit) {
        return Err(ApiError::too_large(limit));
    }
    let failed = |error: std::io::Error| git_failed(&error.into());
    let mut file = File::create(path).await.map_err(failed)?;
    let mut head = Vec::new();
    let mut written = 0;
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| ApiError::bad_request("the push broke off"))?;
        written += piece.len() as u64;
        if written > limit {
            return Err(ApiError::too_large(limit));
        }
        let room = MAX_COMMAND_BYTES - head.len();
        head.extend_from_slice(&piece[..piece.len().min(room)]);
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    pkt::commands(&head).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// Receives the push into a quarantine and looks at what it brings; the pack
/// that takes it on, or why it is refused.
async fn examined(
    api: &RunApi,
    caller: &Caller,
    copy: &Copy,
    target: &Target,
    new: &CommitSha,
    push: &Path,
    known: &KnownSecrets,
) -> Result<Result<Vec<u8>, String>, GitError> {
    let head = target.head.as_ref();
    let quarantine = api.caches.quarantine(copy, &target.branch, head).await?;
    let received = quarantine
        .git(&["receive-pack", "--stateless-rpc", "."])
        .setting("receive.denyNonFastForwards", "true")
        .setting("receive.denyDeletes", "true")
        .setting("receive.fsckObjects", "true")
        .setting("receive.autogc", "false")
        .input(File::open(push).await?)
        .output()
        .await?;
    let reference = branch_ref(&target.branch);
    let args = ["for-each-ref", "--format=%(objectname)", reference.as_str()];
    if quarantine.git(&args).text().await? != new.as_str() {
        return Ok(Err(refusal(&received.stdout)));
    }
    let allowed = caller
        .access
        .frozen
        .as_ref()
        .is_some_and(|frozen| frozen.allow_workflow_pushes);
    if !allowed {
        let paths = check::executed_paths(&quarantine, head, new, &target.base).await?;
        if let Some(path) = paths.first() {
            let reason =
                format!("{path} executes in the target's CI and may not be changed by runs");
            return Ok(Err(reason));
        }
    }
    let not = [Some(&target.base), head];
    if let Some(reason) = secrets::brought(&quarantine, new, &not, known).await? {
        return Ok(Err(reason));
    }
    let pack = packed(&quarantine, target, new).await?;
    let limit = api.settings.push_bytes;
    if pack.len() as u64 > limit {
        return Ok(Err(format!("the push is larger than {limit} bytes")));
    }
    Ok(Ok(pack))
}

/// The pack that takes a repository with branch and base to the new commit.
async fn packed(
    quarantine: &Quarantine,
    target: &Target,
    new: &CommitSha,
) -> Result<Vec<u8>, GitError> {
    let head = target.head.iter().map(|head| format!("^{head}\n"));
    let revisions = format!("{new}\n^{}\n{}", target.base, head.collect::<String>());
    let list = quarantine.file("revisions");
    tokio::fs::write(&list, revisions).await?;
    quarantine
        .git(&["pack-objects", "--thin", "--stdout", "--revs", "--quiet"])
        .input(File::open(list).await?)
        .run()
        .await
}

/// What git says against a push, from its report.
fn refusal(report: &[u8]) -> String {
    let text = String::from_utf8_lossy(report);
    let after = |mark: &str| {
        let (_, rest) = text.split_once(mark)?;
        rest.split_once('\n').map(|(line, _)| line.to_owned())
    };
    let unpacked = after("unpack ").filter(|said| said != "ok");
    let refused =
        || after("ng refs/heads/").and_then(|l| l.split_once(' ').map(|p| p.1.to_owned()));
    unpacked
        .map(|said| format!("the pack is not sound: {said}"))
        .or_else(refused)
        .unwrap_or_else(|| "the push cannot be received".to_owned())
}

async fn stored(
    api: &RunApi,
    caller: &Caller,
    target: Target,
    new: CommitSha,
    pack: Vec<u8>,
) -> ApiResult<i64> {
    let push = PushFact {
        branch: target.branch,
        old: target.head,
        new,
        pack_bytes: i64::try_from(pack.len()).unwrap_or(i64::MAX),
    };
    let (run, attempt) = (caller.run(), caller.attempt());
    let fact = api.store.insert_push(run, attempt, &push, pack).await;
    fact.map_err(staff::refused)
}

/// An answer that waits for a push's outcome and keeps the connection alive.
fn awaited(api: &RunApi, commands: Commands, fact: i64) -> Body {
    let (mut sender, receiver) = mpsc::channel::<Result<Bytes, Infallible>>(4);
    let api = api.clone();
    tokio::spawn(async move {
        let deadline = Instant::now() + api.settings.push_wait;
        let mut alive = Instant::now() + KEEP_ALIVE;
        let report = loop {
            match api.store.push_outcome(fact).await {
                Ok(Some(PushOutcome::Accepted)) => break pkt::report(&commands, None),
                Ok(Some(PushOutcome::Refused { reason })) => {
                    break pkt::report(&commands, Some(&reason));
                }
                Ok(None) => {}
                Err(error) => drop(staff::refused(error)),
            }
            if Instant::now() >= deadline {
                break pkt::report(&commands, Some(PUSH_PENDING));
            }
            if commands.side_band && Instant::now() >= alive {
                alive = Instant::now() + KEEP_ALIVE;
                if sender.send(Ok(pkt::keep_alive().into())).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        // An agent that went away pushes again and finds the same fact.
        drop(sender.send(Ok(report.into())).await);
    });
    Body::from_stream(receiver)
}
