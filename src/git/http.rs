//! Git's smart HTTP protocol as a libgit2 subtransport over reqwest.
//!
//! ```text
//! GET  …/info/refs?service=git-upload-pack     (follows redirects, remembers where to)
//! POST …/git-upload-pack                       (never follows)
//! ```
//!
//! Redirects are followed by hand: a credential goes to the origin it was given
//! for and to no other, and `https` never falls back to `http`.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex, Once, PoisonError},
};

use git2::{
    ErrorClass, ErrorCode,
    transport::{self, Service, SmartSubtransport, SmartSubtransportStream, Transport},
};
use reqwest::{
    StatusCode,
    blocking::{Body, Client, RequestBuilder, Response},
    header,
};
use secrecy::ExposeSecret;
use tempfile::SpooledTempFile;
use url::Url;

use super::remotes::{Credential, HttpOptions, Target, target};

/// How many redirects in a row are followed.
const MAX_REDIRECTS: usize = 5;

/// How much of a request is kept in memory before it goes to a file.
const SPOOL_BYTES: usize = 4 * 1024 * 1024;

/// Puts our transport in place of libgit2's, once.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        for scheme in ["http", "https"] {
            let registered = register(scheme);
            debug_assert!(registered.is_ok(), "the scheme is registered once");
            if let Err(error) = registered {
                tracing::error!(git.scheme = scheme, %error, "cannot register the Git transport");
            }
        }
    });
}

#[expect(
    unsafe_code,
    reason = "libgit2 wants registrations not to race with each other; the `Once` around this is the only place"
)]
fn register(scheme: &str) -> Result<(), git2::Error> {
    // SAFETY: called from inside one process-wide `Once`, before any remote of ours exists.
    unsafe {
        transport::register(scheme, |remote| {
            Transport::smart(remote, true, Subtransport::new(remote))
        })
    }
}

/// A client with these options. It follows no redirects by itself.
pub(super) fn client(options: &HttpOptions) -> Result<Client, reqwest::Error> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(options.connect_timeout)
        .timeout(options.request_timeout)
        .user_agent(concat!(
            "git/2.0 (codex-k8s ",
            env!("CARGO_PKG_VERSION"),
            ")"
        ));
    if let Some(bundle) = &options.ca_bundle {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(bundle)?);
    }
    if let Some(proxy) = &options.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy.clone())?);
    }
    builder.build()
}

/// One conversation with a remote.
struct Subtransport {
    target: Option<Arc<Target>>,
    /// Where the remote really is, after redirects.
    base: Arc<Mutex<Option<Url>>>,
}

impl Subtransport {
    fn new(remote: &git2::Remote<'_>) -> Self {
        Self {
            target: remote.url().ok().and_then(target),
            base: Arc::default(),
        }
    }
}

impl SmartSubtransport for Subtransport {
    fn action(
        &self,
        _url: &str,
        action: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let Some(target) = &self.target else {
            return Err(net_error(
                ErrorCode::NotFound,
                "the remote is not registered",
            ));
        };
        let (service, advertise) = match action {
            Service::UploadPackLs => ("git-upload-pack", true),
            Service::UploadPack => ("git-upload-pack", false),
            Service::ReceivePackLs => ("git-receive-pack", true),
            Service::ReceivePack => ("git-receive-pack", false),
        };
        if advertise {
            let answer = advertisement(target, service, &self.base)?;
            return Ok(Box::new(answer));
        }
        let base = self
            .base
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Ok(Box::new(Exchange {
            target: target.clone(),
            base: base.unwrap_or_else(|| target.url.clone()),
            service,
            request: Some(SpooledTempFile::new(SPOOL_BYTES)),
            answer: None,
        }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// The remote's list of refs.
struct Advertisement(Answer);

impl Read for Advertisement {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Advertisement {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("nothing is written to a list of refs"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One request with its answer: what is written is sent when reading begins.
struct Exchange {
    target: Arc<Target>,
    base: Url,
    service: &'static str,
    request: Option<SpooledTempFile>,
    answer: Option<Answer>,
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.request {
            Some(request) => request.write(bytes),
            None => Err(io::Error::other("the request is already sent")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(request) = self.request.take() {
            self.answer = Some(self.send(request)?);
        }
        self.answer
            .as_mut()
            .map_or(Ok(0), |answer| answer.read(buffer))
    }
}

impl Exchange {
    fn send(&self, mut request: SpooledTempFile) -> io::Result<Answer> {
        use std::io::{Seek, SeekFrom};
        let length = request.stream_position()?;
        request.seek(SeekFrom::Start(0))?;
        let url = below(&self.base, self.service).map_err(io::Error::other)?;
        let client = self.target.client().map_err(io::Error::other)?;
        let builder = client
            .post(url.clone())
            .header(
                header::CONTENT_TYPE,
                format!("application/x-{}-request", self.service),
            )
            .header(
                header::ACCEPT,
                format!("application/x-{}-result", self.service),
            )
            .body(Body::sized(request, length));
        let response = authenticated(builder, &self.target, &url)
            .send()
            .map_err(|error| io::Error::other(chain(&error.without_url())))?;
        check_status(&response, &self.target)
            .map_err(|error| io::Error::other(error.message().to_owned()))?;
        check_type(&response, self.service, "result")
            .map_err(|error| io::Error::other(error.message().to_owned()))?;
        Ok(Answer::new(response, self.target.max_response_bytes()))
    }
}

/// An answer's bytes, up to a limit.
struct Answer {
    response: Response,
    left: u64,
}

impl Answer {
    const fn new(response: Response, limit: u64) -> Self {
        Self {
            response,
            left: limit,
        }
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.response.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other("the remote's answer is larger than allowed"))?;
        Ok(read)
    }
}

fn advertisement(
    target: &Arc<Target>,
    service: &str,
    base: &Mutex<Option<Url>>,
) -> Result<Advertisement, git2::Error> {
    let client = target
        .client()
        .map_err(|error| net_error(ErrorCode::GenericError, &error))?;
    let mut url = below(&target.url, "info/refs")
        .map_err(|error| net_error(ErrorCode::InvalidSpec, error))?;
    url.set_query(Some(&format!("service={service}")));
    for _ in 0..=MAX_REDIRECTS {
        let builder = client
            .get(url.clone())
            .header(header::CACHE_CONTROL, "no-cache");
        let response = authenticated(builder, target, &url)
            .send()
            .map_err(|error| {
                let code = if error.is_timeout() {
                    ErrorCode::Timeout
                } else {
                    ErrorCode::GenericError
                };
                net_error(code, &chain(&error.without_url()))
            })?;
        if response.status().is_redirection() {
            url = redirected(&url, &response)?;
            continue;
        }
        check_status(&response, target)?;
        check_type(&response, service, "advertisement")?;
        let found = without_suffix(&url).ok_or_else(|| {
            net_error(
                ErrorCode::GenericError,
                "the remote redirects to something that is no repository",
            )
        })?;
        *base.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        return Ok(Advertisement(Answer::new(
            response,
            target.max_response_bytes(),
        )));
    }
    Err(net_error(
        ErrorCode::GenericError,
        "the remote redirects too often",
    ))
}

fn redirected(from: &Url, response: &Response) -> Result<Url, git2::Error> {
    let location = response
        .headers()
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let to = location.and_then(|location| from.join(location).ok());
    let Some(to) = to else {
        return Err(net_error(
            ErrorCode::GenericError,
            "the remote redirects to nowhere",
        ));
    };
    if !matches!(to.scheme(), "http" | "https")
        || (from.scheme() == "https" && to.scheme() == "http")
    {
        return Err(net_error(
            ErrorCode::GenericError,
            "the remote redirects from https to an unsafe scheme",
        ));
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(net_error(
            ErrorCode::GenericError,
            "the remote redirects to a URL with a credential",
        ));
    }
    Ok(to)
}

/// Adds the credential when the request goes to the origin it was given for.
fn authenticated(builder: RequestBuilder, target: &Target, url: &Url) -> RequestBuilder {
    if url.origin() != target.url.origin() {
        return builder;
    }
    match target.credential.as_ref().and_then(|source| source()) {
        Some(Credential::Basic { username, password }) => {
            builder.basic_auth(username, Some(password.expose_secret()))
        }
        Some(Credential::Bearer(token)) => builder.bearer_auth(token.expose_secret()),
        None => builder,
    }
}

/// A URL below a repository's.
fn below(repository: &Url, path: &str) -> Result<Url, &'static str> {
    let mut url = repository.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut()
        .map_err(|()| "the remote's URL cannot have a path")?
        .pop_if_empty()
        .extend(path.split('/'));
    Ok(url)
}

/// The repository's URL behind that of its list of refs.
fn without_suffix(url: &Url) -> Option<Url> {
    let path = url.path().strip_suffix("/info/refs")?.to_owned();
    let mut url = url.clone();
    url.set_path(&path);
    url.set_query(None);
    Some(url)
}

fn check_status(response: &Response, target: &Target) -> Result<(), git2::Error> {
    let status = response.status();
    let (code, why) = match status {
        StatusCode::OK => return Ok(()),
        StatusCode::UNAUTHORIZED if target.credential.is_none() => {
            (ErrorCode::Auth, "it wants a credential")
        }
        StatusCode::UNAUTHORIZED => (ErrorCode::Auth, "it does not accept the credential"),
        StatusCode::FORBIDDEN => (ErrorCode::Auth, "it forbids this"),
        StatusCode::NOT_FOUND | StatusCode::GONE => (
            ErrorCode::NotFound,
            "there is no such repository, or no access",
        ),
        StatusCode::TOO_MANY_REQUESTS => (ErrorCode::GenericError, "it asks to slow down"),
        status if status.is_redirection() => (
            ErrorCode::GenericError,
            "it redirects a request that cannot be",
        ),
        _ => (ErrorCode::GenericError, "it failed"),
    };
    Err(net_error(
        code,
        &format!("the remote answers {}: {why}", status.as_u16()),
    ))
}

/// Anything else than Git's own type is a login page or a plain file server.
fn check_type(response: &Response, service: &str, part: &str) -> Result<(), git2::Error> {
    let wanted = format!("application/x-{service}-{part}");
    let found = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if found.is_some_and(|found| {
        found
            .split(';')
            .next()
            .is_some_and(|found| found.trim() == wanted)
    }) {
        return Ok(());
    }
    Err(net_error(
        ErrorCode::GenericError,
        "the remote does not speak Git's smart HTTP",
    ))
}

fn net_error(code: ErrorCode, message: &str) -> git2::Error {
    git2::Error::new(code, ErrorClass::Http, message)
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_a_repository_keep_its_path() {
        let url: Url = "https://forge.example/o/r.git/?x=1".parse().unwrap();
        let refs = below(&url, "info/refs").unwrap();
        assert_eq!(refs.as_str(), "https://forge.example/o/r.git/info/refs");
        assert_eq!(
            without_suffix(&refs).unwrap().as_str(),
            "https://forge.example/o/r.git"
        );
    }
}
