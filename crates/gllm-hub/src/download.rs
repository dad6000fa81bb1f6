//! From a repository to a staged folder: list, choose, and fetch file by file, resuming what is there.
//!
//! Invariant: all files are of one commit, and a file has its name only once its size, and its sha256 where the Hub
//! states one, were checked. Whatever ends a download, what arrived stays staged for the next.

use std::io::{self, Read};
use std::path::Path;

use gllm_core::{DownloadError, DownloadProblem, Error, LoadError, ModelNotFound};

use crate::config::HubConfig;
use crate::http::{Http, Stated, content_range};
use crate::id::HubId;
use crate::listing::Listing;
use crate::part::{Part, disk};
use crate::progress::Progress;
use crate::record::{FileRecord, Record, Source};
use crate::retry::{Failure, Retry};
use crate::select::{Unfit, needed_files};

const BUFFER: usize = 128 << 10;

/// Downloads the files that the model needs into `staging`, with their record.
pub(crate) fn fetch(
    config: &HubConfig,
    id: &HubId,
    staging: &Path,
    progress: &mut dyn Progress,
) -> Result<Record, Error> {
    let failed = |file: Option<&str>, problem| DownloadError {
        model: id.repo_id().to_owned(),
        file: file.map(str::to_owned),
        problem,
    };
    let http = Http::new(config, id)?;
    let listing = list(config, id, &http, progress).map_err(|problem| failed(None, problem))?;
    let needed = needed_files(&listing.files, id.gguf()).map_err(|unfit| nothing_to_download(id, unfit))?;
    let mut record = Record {
        repo_id: id.repo_id().to_owned(),
        file: id.file().map(str::to_owned),
        revision: id.revision().to_owned(),
        source: Source::Hub,
        commit: Some(listing.commit.clone()),
        package: None,
        files: needed
            .iter()
            .map(|file| FileRecord { name: file.name.clone(), size: file.size, sha256: file.sha256() })
            .collect(),
    };
    stage(&record, staging).map_err(|problem| failed(None, problem))?;

    progress.started(record.files.len(), record.total_bytes());
    let mut done = 0;
    for file in &mut record.files {
        progress.file(&file.name, file.size);
        let download = FileDownload { config, http: &http, commit: &listing.commit, done };
        done += download.run(file, staging, progress).map_err(|problem| failed(Some(&file.name), problem))?;
    }
    record.write(staging).map_err(|problem| failed(None, problem))?;
    Ok(record)
}

fn list(config: &HubConfig, id: &HubId, http: &Http, progress: &mut dyn Progress) -> Result<Listing, DownloadProblem> {
    let mut retry = Retry::new(config.backoff);
    let bytes = loop {
        match http.listing(id.revision()) {
            Ok(bytes) => break bytes,
            Err(failure) => retry.wait(failure, (0, None), progress)?,
        }
    };
    let listing = Listing::parse(&bytes)?;
    let is_commit = id.revision().len() == 40 && id.revision().bytes().all(|b| b.is_ascii_hexdigit());
    if is_commit && !listing.commit.eq_ignore_ascii_case(id.revision()) {
        let reason = format!("asked for commit {}, got {}", id.revision(), listing.commit);
        return Err(DownloadProblem::Protocol { reason });
    }
    Ok(listing)
}

fn nothing_to_download(id: &HubId, unfit: Unfit) -> Error {
    let list = |files: &[String]| {
        let names: Vec<_> = files.iter().map(|file| format!("`{}:{file}`", id.repo_id())).collect();
        names.join(", ")
    };
    let reason = match unfit {
        Unfit::Problem(problem) => return LoadError::new(id.repo_id(), problem).into(),
        Unfit::Several(files) => format!("it has several models in GGUF; give one of {}", list(&files)),
        Unfit::Lacks { name, others } if others.is_empty() => format!("it has no `{name}`, and no other GGUF file"),
        Unfit::Lacks { name, others } => format!("it has no `{name}`; its models in GGUF are {}", list(&others)),
    };
    ModelNotFound { model: id.to_string(), reason, suggestions: Vec::new() }.into()
}

/// Makes `staging` ready for `record`; what is staged of another commit is thrown away.
fn stage(record: &Record, staging: &Path) -> Result<(), DownloadProblem> {
    let resumes = Record::read(staging, record.file.as_deref()).is_some_and(|staged| {
        (&staged.repo_id, staged.source, &staged.commit) == (&record.repo_id, record.source, &record.commit)
    });
    if !resumes && staging.exists() {
        std::fs::remove_dir_all(staging).map_err(|error| disk(staging, &error))?;
    }
    std::fs::create_dir_all(staging).map_err(|error| disk(staging, &error))?;
    record.write(staging)
}

struct FileDownload<'a> {
    config: &'a HubConfig,
    http: &'a Http,
    commit: &'a str,
    /// Bytes of the files before this one.
    done: u64,
}

/// What a file must be, as far as the Hub said so by now.
struct Wanted {
    size: Option<u64>,
    sha256: Option<String>,
    etag: Option<String>,
}

impl FileDownload<'_> {
    /// Fetches `file` whole, completes its record and returns its size.
    fn run(&self, file: &mut FileRecord, staging: &Path, progress: &mut dyn Progress) -> Result<u64, DownloadProblem> {
        let mut part = Part::open(&staging.join(&file.name))?;
        let mut wanted = Wanted { size: file.size, sha256: file.sha256.clone(), etag: None };
        if wanted.size.is_some_and(|size| part.len() > size) {
            part.restart()?;
        }
        progress.advanced(self.done + part.len());

        let url = self.http.url(self.commit, &file.name);
        let mut retry = Retry::new(self.config.backoff);
        let mut furthest = part.len();
        while wanted.size != Some(part.len()) {
            let Err(failure) = self.attempt(&url, &mut part, &mut wanted, progress) else { break };
            // Only bytes beyond the best attempt count: a server that always starts over would go on for ever.
            if part.len() > furthest {
                furthest = part.len();
                retry.reset();
            }
            retry.wait(failure, (part.len(), wanted.size), progress)?;
        }
        let size = part.len();
        *file = FileRecord {
            name: file.name.clone(),
            size: Some(size),
            sha256: Some(part.finish(wanted.sha256.as_deref())?),
        };
        Ok(size)
    }

    fn attempt(
        &self,
        url: &str,
        part: &mut Part,
        wanted: &mut Wanted,
        progress: &mut dyn Progress,
    ) -> Result<(), Failure> {
        let answer = self.http.get(url, part.len())?;
        if answer.stated.commit.as_deref().is_some_and(|commit| commit != self.commit) {
            let found = answer.stated.commit.unwrap_or_default();
            return Err(Failure::protocol(format!("asked for commit {}, got {}", self.commit, found.escape_debug())));
        }
        let status = answer.response.status().as_u16();
        let range = content_range(&answer.response);
        let has_changed = wanted.learn(answer.stated)?;
        let starts_over = status == 200 && part.len() > 0;
        let continues = status == 200 || (status == 206 && range.is_some_and(|(start, _)| start == part.len()));
        if has_changed || starts_over || !continues {
            part.restart().map_err(Failure::Final)?;
            progress.advanced(self.done);
        }
        if !continues || (has_changed && status == 206) {
            return Err(Failure::Broken { reason: format!("HTTP {status} does not continue what is there") });
        }
        let total =
            if status == 200 { answer.response.body().content_length() } else { range.and_then(|(_, total)| total) };
        wanted.check_size(total)?;
        self.read(&mut answer.response.into_body().into_reader(), part, wanted, progress)
    }

    fn read(
        &self,
        body: &mut dyn Read,
        part: &mut Part,
        wanted: &Wanted,
        progress: &mut dyn Progress,
    ) -> Result<(), Failure> {
        let mut buffer = vec![0; BUFFER];
        loop {
            if progress.cancelled() {
                return Err(Failure::Final(DownloadProblem::Cancelled));
            }
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Broken { reason: error.to_string() }),
            };
            if let Some(size) = wanted.size
                && part.len() + count as u64 > size
            {
                return Err(Failure::protocol(format!("the file is longer than the {size} bytes that the Hub states")));
            }
            part.append(&buffer[..count]).map_err(Failure::Final)?;
            progress.advanced(self.done + part.len());
        }
        match wanted.size {
            Some(size) if part.len() < size => Err(Failure::Broken { reason: "the body ended early".to_owned() }),
            _ => Ok(()),
        }
    }
}

impl Wanted {
    /// Takes what the answer states, and says whether the file is another than in the attempt before.
    fn learn(&mut self, stated: Stated) -> Result<bool, Failure> {
        self.check_size(stated.size)?;
        self.sha256 = self.sha256.take().or(stated.sha256);
        let has_changed = self.etag.is_some() && stated.etag.is_some() && self.etag != stated.etag;
        self.etag = stated.etag.or(self.etag.take());
        Ok(has_changed)
    }

    fn check_size(&mut self, found: Option<u64>) -> Result<(), Failure> {
        match (self.size, found) {
            (Some(size), Some(found)) if size != found => {
                Err(Failure::protocol(format!("the file has {found} bytes, but the Hub states {size}")))
            }
            _ => {
                self.size = self.size.or(found);
                Ok(())
            }
        }
    }
}
