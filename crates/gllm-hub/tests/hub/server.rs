//! A small HTTP server with a repository in the Hub's form, on raw sockets so that it can misbehave.
//!
//! A test gives a function from the request, and how often that path was asked before, to a [`Reply`];
//! [`Repo::answer`] is the well-behaved one.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Files from this size on are "large files", with a stated sha256.
const LARGE: usize = 1000;

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    headers: HashMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Sends this many bytes of the body, then closes.
    pub(crate) cut: Option<usize>,
    /// After the cut, holds the connection open until the server is dropped.
    pub(crate) stall: bool,
    /// Leaves out the length: the body ends with the connection.
    pub(crate) unsized_body: bool,
    /// Sends the body in ten pieces with this wait before each.
    pub(crate) pace: Option<Duration>,
    /// Closes without a word.
    pub(crate) hang_up: bool,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn hang_up() -> Self {
        Self { hang_up: true, ..Self::default() }
    }

    pub(crate) fn body(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    pub(crate) fn redirect(to: impl Into<String>) -> Self {
        Self::status(302).with("Location", to)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn cut_at(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !self.unsized_body {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        let body = &self.body[..self.cut.unwrap_or(self.body.len())];
        let pieces = if self.pace.is_some() { 10 } else { 1 };
        for piece in body.chunks(body.len().div_ceil(pieces).max(1)) {
            thread::sleep(self.pace.unwrap_or_default());
            stream.write_all(piece)?;
        }
        stream.flush()
    }
}

type Handler = dyn Fn(&Request, usize) -> Reply + Send + Sync;

pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    handler: Box<Handler>,
    log: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared =
            Arc::new(Shared { handler: Box::new(handler), log: Mutex::default(), stopped: AtomicBool::new(false) });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_thread.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// A server that serves `repo` as it should.
    pub(crate) fn of(repo: Repo) -> Self {
        Self::start(move |request, _| repo.answer(request))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.shared.log.lock().expect("the log").clone()
    }

    /// The requests so far whose path ends so.
    pub(crate) fn asked(&self, ending: &str) -> Vec<Request> {
        self.log().into_iter().filter(|request| request.path.ends_with(ending)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let Some(request) = read_request(&stream) else { return };
    let before = {
        let mut log = shared.log.lock().expect("the log");
        let before = log.iter().filter(|other| other.path == request.path).count();
        log.push(request.clone());
        before
    };
    let reply = (shared.handler)(&request, before);
    // A client may hang up early: that is its business.
    if !reply.hang_up && reply.send(&mut stream).is_ok() && reply.stall {
        while !shared.stopped.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
        .collect();
    Some(Request { path, headers })
}

/// A repository with a commit and files.
#[derive(Clone, Debug)]
pub(crate) struct Repo {
    pub(crate) commit: String,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl Repo {
    /// A small model with the files that real ones have.
    pub(crate) fn model() -> Self {
        let weights: Vec<u8> = (0..50_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let files = [
            ("README.md", b"# model".to_vec()),
            ("config.json", br#"{"architectures":["BertModel"]}"#.to_vec()),
            ("tokenizer.json", b"{}".to_vec()),
            ("1_Pooling/config.json", b"{ }".to_vec()),
            ("model.safetensors", weights),
            ("onnx/model.onnx", b"onnx".to_vec()),
            ("pytorch_model.bin", b"pickle".to_vec()),
        ];
        Self {
            commit: COMMIT.to_owned(),
            files: files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect(),
        }
    }

    pub(crate) fn file(&self, name: &str) -> &[u8] {
        self.files.iter().find(|(other, _)| other == name).map(|(_, bytes)| bytes.as_slice()).expect(name)
    }

    /// What the Hub answers.
    pub(crate) fn answer(&self, request: &Request) -> Reply {
        if request.path.starts_with("/api/models/") {
            return Reply::body(self.listing().to_string());
        }
        let prefix = format!("/resolve/{}/", self.commit);
        let name = request.path.split_once(&prefix).map(|(_, name)| name);
        match name.and_then(|name| self.files.iter().find(|(other, _)| other == name)) {
            Some((_, bytes)) => self.headers(ranged(request, bytes), bytes),
            None => Reply::status(404),
        }
    }

    /// The headers by which the Hub states what a file is.
    pub(crate) fn headers(&self, reply: Reply, bytes: &[u8]) -> Reply {
        let reply = reply.with("X-Repo-Commit", &self.commit);
        if bytes.len() < LARGE {
            return reply.with("ETag", format!("\"{:.40}\"", sha256(bytes)));
        }
        let etag = format!("\"{}\"", sha256(bytes));
        reply.with("X-Linked-Etag", etag).with("X-Linked-Size", bytes.len().to_string())
    }

    pub(crate) fn listing(&self) -> serde_json::Value {
        let siblings: Vec<_> = self
            .files
            .iter()
            .map(|(name, bytes)| {
                let mut sibling = serde_json::json!({ "rfilename": name, "size": bytes.len(), "blobId": "b" });
                if bytes.len() >= LARGE {
                    sibling["lfs"] = serde_json::json!({ "sha256": sha256(bytes), "size": bytes.len() });
                }
                sibling
            })
            .collect();
        serde_json::json!({ "id": "org/model", "sha": self.commit, "siblings": siblings })
    }
}

/// `bytes` from the place that the request asks for.
pub(crate) fn ranged(request: &Request, bytes: &[u8]) -> Reply {
    let start = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let total = bytes.len();
    match start {
        None => Reply::body(bytes),
        Some(start) if start >= total => Reply::status(416).with("Content-Range", format!("bytes */{total}")),
        Some(start) => Reply { status: 206, ..Reply::body(&bytes[start..]) }
            .with("Content-Range", format!("bytes {start}-{}/{total}", total - 1)),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
