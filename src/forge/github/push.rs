//! Pushing a stored pack to one branch over smart HTTP.
//!
//! The branch moves only from the expected commit to the new one: the server
//! checks the old value in the same step that sets the new one. Whether the new
//! commit descends from the old is the caller's knowledge.

use base64::Engine as _;
use bytes::Bytes;
use http::Method;
use secrecy::ExposeSecret;

use super::{
    GithubForge,
    client::{Call, transport_error},
    transport::TransportError,
};
use crate::{
    domain::ids::CommitSha,
    forge::{Forge, ForgeErrorKind, ForgeResult, Purpose, PushOutcome, PushRef, RepositoryRef},
};

/// The object id that stands for "no commit".
const NONE: &str = "0000000000000000000000000000000000000000";

/// The longest advertisement of refs that is read.
const LONGEST_ADVERTISEMENT: usize = 64 << 20;

impl GithubForge {
    pub(super) async fn push(
        &self,
        repository: &RepositoryRef,
        push: &PushRef,
    ) -> ForgeResult<PushOutcome> {
        let about = format!("{} of {repository}", push.branch);
        let call = Call {
            purpose: Purpose::Push,
            object: about,
            method: Method::POST,
            path: "/git-receive-pack".to_owned(),
            body: None,
            anew: true,
        };
        let result = self.push_counted(repository, push, &call).await;
        let name = result
            .as_ref()
            .map_or_else(|error| error.kind.as_str(), |_| "ok");
        self.client.metrics.count(Purpose::Push, name);
        result
    }

    async fn push_counted(
        &self,
        repository: &RepositoryRef,
        push: &PushRef,
        call: &Call,
    ) -> ForgeResult<PushOutcome> {
        let branch = format!("refs/heads/{}", push.branch);
        let found = self.advertised(repository, &branch, call).await?;
        if found.as_ref() == Some(&push.new) {
            return Ok(PushOutcome::AlreadyThere);
        }
        if found != push.expected_old {
            return Ok(PushOutcome::Stale { found });
        }
        let old = push.expected_old.as_ref().map_or(NONE, CommitSha::as_str);
        let command = format!(
            "{old} {} {branch}\0 report-status object-format=sha1 agent=codex-k8s",
            push.new.as_str()
        );
        let mut body = pkt_line(command.as_bytes());
        body.extend_from_slice(b"0000");
        body.extend_from_slice(&push.pack);
        let report = self.receive_pack(repository, body, call).await?;
        match parse_report(&report, &branch) {
            Report::Ok => Ok(PushOutcome::Updated),
            Report::Unreadable => Err(call
                .error(ForgeErrorKind::Truncated, "the push's report is not whole")
                .possibly_applied()),
            Report::Refused(reason) => {
                // A branch that moved meanwhile is refused in many words; where
                // it stands now says it in one.
                let found = self.advertised(repository, &branch, call).await?;
                if found != push.expected_old {
                    return Ok(PushOutcome::Stale { found });
                }
                Ok(PushOutcome::Refused { reason })
            }
        }
    }

    /// Where the branch stands as the Git server itself says.
    async fn advertised(
        &self,
        repository: &RepositoryRef,
        branch: &str,
        call: &Call,
    ) -> ForgeResult<Option<CommitSha>> {
        let url = format!(
            "{}/info/refs?service=git-receive-pack",
            self.clone_url(&repository.name)
        );
        let request = self
            .client
            .http
            .get(url)
            .timeout(self.client.settings.request_timeout);
        let body = self.git_exchange(request, false, call).await?;
        let lines = pkt_lines(&body).ok_or_else(|| {
            call.error(ForgeErrorKind::Truncated, "the list of refs is not whole")
        })?;
        let found = lines.into_iter().find_map(|line| {
            let text = String::from_utf8_lossy(line);
            let (sha, rest) = text.split_once(' ')?;
            let name = rest.split('\0').next()?.trim_end();
            (name == branch).then(|| CommitSha::new(sha))
        });
        Ok(found)
    }

    async fn receive_pack(
        &self,
        repository: &RepositoryRef,
        body: Vec<u8>,
        call: &Call,
    ) -> ForgeResult<Bytes> {
        self.client.admit(call, "git").await?;
        let url = format!("{}/git-receive-pack", self.clone_url(&repository.name));
        let request = self
            .client
            .http
            .post(url)
            .timeout(self.client.settings.push_timeout)
            .header(
                http::header::CONTENT_TYPE,
                "application/x-git-receive-pack-request",
            )
            .header(
                http::header::ACCEPT,
                "application/x-git-receive-pack-result",
            )
            .body(body);
        self.git_exchange(request, true, call).await
    }

    async fn git_exchange(
        &self,
        request: reqwest::RequestBuilder,
        changes: bool,
        call: &Call,
    ) -> ForgeResult<Bytes> {
        let mut call = call.clone();
        if !changes {
            call.method = Method::GET;
        }
        let failed = |error: reqwest::Error| transport_error(&call, &TransportError::of(&error));
        let credentials = self.git_credentials().await?;
        let plain = format!(
            "{}:{}",
            credentials.username,
            credentials.password.expose_secret()
        );
        let basic = base64::engine::general_purpose::STANDARD.encode(plain);
        let mut authorization = http::HeaderValue::try_from(format!("Basic {basic}"))
            .map_err(|_| call.error(ForgeErrorKind::Invalid, "the credential is no header"))?;
        authorization.set_sensitive(true);
        let request = request
            .header(http::header::AUTHORIZATION, authorization)
            .build()
            .map_err(failed)?;
        if changes {
            let gate = self.client.gate.may_write();
            gate.map_err(|why| call.error(ForgeErrorKind::NotSent, why))?;
            self.client.metrics.count_write();
        }
        let mut response = self.client.http.execute(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        if status != 200 {
            let kind = match status {
                301 | 302 | 307 | 308 => ForgeErrorKind::Moved { to: None },
                401 => ForgeErrorKind::Unauthorized,
                403 => ForgeErrorKind::Forbidden,
                404 => ForgeErrorKind::NotFound,
                413 => ForgeErrorKind::Unprocessable,
                500..=599 => ForgeErrorKind::Server,
                _ => ForgeErrorKind::Invalid,
            };
            let maybe = changes && kind == ForgeErrorKind::Server;
            let error = call.error(kind, format!("the Git server answered {status}"));
            return Err(if maybe {
                error.possibly_applied()
            } else {
                error
            });
        }
        let mut body = bytes::BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LONGEST_ADVERTISEMENT {
                return Err(call.error(ForgeErrorKind::Truncated, "the answer is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

fn pkt_line(data: &[u8]) -> Vec<u8> {
    let mut line = format!("{:04x}", data.len() + 4).into_bytes();
    line.extend_from_slice(data);
    line
}

/// The lines of a pkt-line stream, flushes passed over; `None` when it breaks off.
fn pkt_lines(mut rest: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let length = usize::from_str_radix(std::str::from_utf8(rest.get(..4)?).ok()?, 16).ok()?;
        if length < 4 {
            rest = rest.get(4..)?;
            continue;
        }
        lines.push(rest.get(4..length)?);
        rest = rest.get(length..)?;
    }
    Some(lines)
}

#[derive(Debug, PartialEq, Eq)]
enum Report {
    Ok,
    Refused(String),
    Unreadable,
}

fn parse_report(body: &[u8], branch: &str) -> Report {
    let Some(lines) = pkt_lines(body) else {
        return Report::Unreadable;
    };
    let mut unpacked = None;
    for line in lines {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if let Some(how) = text.strip_prefix("unpack ") {
            unpacked = Some(how.to_owned());
        } else if text.strip_prefix("ok ") == Some(branch) {
            return Report::Ok;
        } else if let Some(rest) = text.strip_prefix("ng ") {
            let reason = rest.strip_prefix(branch).unwrap_or(rest).trim();
            return Report::Refused(match unpacked.as_deref() {
                None | Some("ok") => reason.to_owned(),
                Some(how) => format!("{reason} ({how})"),
            });
        }
    }
    match unpacked {
        Some(how) if how != "ok" => Report::Refused(how),
        _ => Report::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> Vec<u8> {
        let mut body: Vec<u8> = lines
            .iter()
            .flat_map(|line| pkt_line(line.as_bytes()))
            .collect();
        body.extend_from_slice(b"0000");
        body
    }

    #[test]
    fn a_report_is_ok_only_when_it_names_the_branch() {
        let branch = "refs/heads/codex/issue-1";
        let good = report(&["unpack ok\n", "ok refs/heads/codex/issue-1\n"]);
        assert_eq!(parse_report(&good, branch), Report::Ok);
        let other = report(&["unpack ok\n", "ok refs/heads/main\n"]);
        assert_eq!(parse_report(&other, branch), Report::Unreadable);
        assert_eq!(
            parse_report(&good[..good.len() - 8], branch),
            Report::Unreadable
        );
        let refused = report(&["unpack ok\n", "ng refs/heads/codex/issue-1 hook declined\n"]);
        assert_eq!(
            parse_report(&refused, branch),
            Report::Refused("hook declined".to_owned())
        );
        let bad_pack = report(&["unpack index-pack failed\n"]);
        assert_eq!(
            parse_report(&bad_pack, branch),
            Report::Refused("index-pack failed".to_owned())
        );
    }
}
