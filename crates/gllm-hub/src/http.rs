//! Requests to the Hub: addresses from `hf-hub`, transport by `ureq` over rustls.
//!
//! Invariant: the token goes to the endpoint's own scheme, host and port; a redirect elsewhere is followed without it,
//! and one from https to http isn't followed. Requests are made here, since `hf-hub`'s own downloader sends the token
//! to other ports, hides `Retry-After`, doesn't check ranges and can't be cancelled.

use std::time::Duration;

use gllm_core::{DownloadProblem, Error, InvalidConfig};
use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body, Timeout};

use crate::config::{HubConfig, Token, check_endpoint};
use crate::id::HubId;
use crate::listing::as_sha256;
use crate::retry::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const MAX_REDIRECTS: usize = 8;

/// Largest list of files, in bytes.
const MAX_LISTING: u64 = 64 << 20;

/// A client for one repository.
pub(crate) struct Http {
    api: Api,
    agent: Agent,
    repo_id: String,
    origin: Origin,
    token: Option<Token>,
}

/// An answer to a request.
pub(crate) struct Answer {
    /// 200, 206 or 416.
    pub(crate) response: Response<Body>,
    pub(crate) stated: Stated,
}

/// What the endpoint states of a file before it sends the client elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Stated {
    pub(crate) etag: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) commit: Option<String>,
}

impl Http {
    pub(crate) fn new(config: &HubConfig, id: &HubId) -> Result<Self, Error> {
        // The cache is never used; naming one keeps hf-hub from looking for a home folder.
        let mut builder = ApiBuilder::from_cache(Cache::new(config.models_dir.clone()))
            // It only makes addresses.
            .with_token(None)
            .with_user_agent("gllm", env!("CARGO_PKG_VERSION"))
            .with_progress(false);
        if let Some(endpoint) = &config.endpoint {
            check_endpoint(endpoint)?;
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let api = builder.build().map_err(|error| InvalidConfig::new("endpoint", "an address", error.to_string()))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("gllm/", env!("CARGO_PKG_VERSION")))
            // A compressed body would have neither the size nor the ranges of the file.
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT_TIMEOUT))
            // Of each read, not of the whole body: a slow line isn't cut.
            .timeout_recv_response(Some(config.idle_timeout))
            .timeout_per_read(Some(config.idle_timeout))
            .build()
            .new_agent();
        let repo_id = id.repo_id().to_owned();
        let address = api.model(repo_id.clone()).url("");
        let origin = address.parse().ok().and_then(|uri| Origin::of(&uri));
        let origin = origin.ok_or_else(|| InvalidConfig::new("endpoint", "an address with a host", address))?;
        Ok(Self { api, agent, repo_id, origin, token: config.token.clone() })
    }

    /// The list of files at `revision`, as the server sends it.
    pub(crate) fn listing(&self, revision: &str) -> Result<Vec<u8>, Failure> {
        let request = self.repo(revision).info_request();
        let address = request.uri_ref().map(|uri| format!("{uri}?blobs=true")).unwrap_or_default();
        // There is nothing to resume yet: a connection that breaks is as good as none.
        let lost = |failure| match failure {
            Failure::Broken { reason } => Failure::Unreachable { endpoint: self.origin.to_string(), reason },
            other => other,
        };
        let body = self.get(&address, 0).map_err(lost)?.response.into_body();
        let read = body.into_with_config().limit(MAX_LISTING).read_to_vec();
        read.map_err(|error| lost(failure(&self.origin, error)))
    }

    /// The address of a file at a commit.
    pub(crate) fn url(&self, commit: &str, file: &str) -> String {
        self.repo(commit).url(file)
    }

    /// Asks for what is at `url` from byte `start` on, through redirects.
    pub(crate) fn get(&self, url: &str, start: u64) -> Result<Answer, Failure> {
        let mut uri: Uri = url.parse().map_err(|error| Failure::protocol(format!("bad address `{url}`: {error}")))?;
        let mut stated = Stated::default();
        for _ in 0..MAX_REDIRECTS {
            let origin = Origin::of(&uri).ok_or_else(|| Failure::protocol(format!("bad address `{uri}`")))?;
            let mut request = self.agent.get(uri.clone());
            if start > 0 {
                request = request.header("Range", format!("bytes={start}-"));
            }
            if origin == self.origin
                && let Some(token) = &self.token
            {
                request = request.header("Authorization", format!("Bearer {}", token.reveal()));
            }
            let response = request.call().map_err(|error| failure(&origin, error))?;
            if origin == self.origin {
                stated.learn(response.headers());
            }
            if !response.status().is_redirection() {
                check_status(&response, &uri.to_string())?;
                return Ok(Answer { response, stated });
            }
            let target = text(response.headers(), "location")
                .ok_or_else(|| Failure::protocol(format!("HTTP {} without a location", response.status())))?;
            uri = redirect(&uri, target)?;
        }
        Err(Failure::protocol(format!("more than {MAX_REDIRECTS} redirects from `{url}`")))
    }

    fn repo(&self, revision: &str) -> hf_hub::api::sync::ApiRepo {
        self.api.repo(Repo::with_revision(self.repo_id.clone(), RepoType::Model, revision.to_owned()))
    }
}

impl Stated {
    /// The first statement of each fact counts. `X-Linked-*` is of the file; plain headers of a redirect are not.
    fn learn(&mut self, headers: &HeaderMap) {
        let linked = text(headers, "x-linked-etag").map(unquoted);
        let etag = linked.or_else(|| text(headers, "etag").map(unquoted));
        self.etag = self.etag.take().or_else(|| etag.map(str::to_owned));
        self.sha256 = self.sha256.take().or_else(|| linked.and_then(as_sha256));
        self.size = self.size.or_else(|| text(headers, "x-linked-size")?.parse().ok());
        self.commit = self.commit.take().or_else(|| text(headers, "x-repo-commit").map(str::to_owned));
    }
}

/// Scheme, host and port: whom the token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let port = uri.port_u16().unwrap_or(default_port(is_https));
        Some(Self { is_https, host: uri.host()?.to_ascii_lowercase(), port })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == default_port(self.is_https) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

/// The address that `location` means when `from` answers with it.
fn redirect(from: &Uri, location: &str) -> Result<Uri, Failure> {
    let bad = || Failure::protocol(format!("`{from}` redirects to `{}`", location.escape_debug()));
    let (scheme, authority) = (from.scheme_str().ok_or_else(bad)?, from.authority().ok_or_else(bad)?);
    let absolute = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        location.to_owned()
    };
    let target: Uri = absolute.parse().map_err(|_| bad())?;
    let (old, new) = (Origin::of(from).ok_or_else(bad)?, Origin::of(&target).ok_or_else(bad)?);
    if old.is_https && !new.is_https { Err(bad()) } else { Ok(target) }
}

/// Lets 2xx and 416 pass.
fn check_status(response: &Response<Body>, url: &str) -> Result<(), Failure> {
    let status = response.status().as_u16();
    match status {
        200 | 206 | 416 => Ok(()),
        401 | 403 => Err(Failure::Final(DownloadProblem::Denied { status })),
        404 => Err(Failure::Final(DownloadProblem::Missing { url: url.to_owned() })),
        408 | 429 | 500.. => {
            let seconds = text(response.headers(), "retry-after").and_then(|text| text.trim().parse().ok());
            Err(Failure::Status { status, retry_after: seconds.map(Duration::from_secs) })
        }
        _ => Err(Failure::Final(DownloadProblem::Status { status, attempts: 1 })),
    }
}

/// Whether no connection came about, or one broke, or the request was never possible.
fn failure(origin: &Origin, error: ureq::Error) -> Failure {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
    let reason = error.to_string();
    match error {
        ureq::Error::Http(_)
        | ureq::Error::BadUri(_)
        | ureq::Error::BodyExceedsLimit(_)
        | ureq::Error::TooManyRedirects
        | ureq::Error::LargeResponseHeader(..) => Failure::protocol(reason),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
            Failure::Unreachable { endpoint: origin.to_string(), reason }
        }
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) | ureq::Error::BodyStalled => Failure::Broken { reason },
        ureq::Error::Io(error)
            if matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | UnexpectedEof | WouldBlock
            ) =>
        {
            Failure::Broken { reason }
        }
        _ => Failure::Unreachable { endpoint: origin.to_string(), reason },
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// An entity tag without its quotes and its mark of weakness.
fn unquoted(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

/// The first byte and the total size, where known, of `bytes 5-9/10`.
pub(crate) fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let (range, total) = text(response.headers(), "content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved_and_never_leave_https() {
        let from: Uri = "https://host:8443/a/b".parse().expect("an address");
        let check = |location, expected: &str| {
            assert_eq!(redirect(&from, location).expect(location).to_string(), expected);
        };
        check("/c?d=e", "https://host:8443/c?d=e");
        check("//cdn/c", "https://cdn/c");
        check("https://cdn/c", "https://cdn/c");
        for location in ["http://cdn/c", "c", "file:///etc/passwd", "", "ftp://x/y"] {
            assert!(redirect(&from, location).is_err(), "{location}");
        }
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let origin = |text: &str| Origin::of(&text.parse().expect("an address"));
        assert_eq!(origin("https://HOST/a"), origin("https://host:443/b"));
        for other in ["http://host/a", "https://host:444/a", "https://host.evil/a"] {
            assert_ne!(origin("https://host/a"), origin(other));
        }
    }

    #[test]
    fn etags_that_are_hashes_count_as_hashes() {
        let mut headers = HeaderMap::new();
        let hash = "0a".repeat(32);
        headers.insert("x-linked-etag", format!("\"{hash}\"").parse().expect("a header"));
        headers.insert("x-linked-size", "12".parse().expect("a header"));
        headers.insert("etag", "W/\"other\"".parse().expect("a header"));
        let mut stated = Stated::default();
        stated.learn(&headers);
        assert_eq!((stated.etag.as_deref(), stated.sha256.as_deref()), (Some(hash.as_str()), Some(hash.as_str())));
        assert_eq!((stated.size, stated.commit), (Some(12), None));
    }
}
