//! What the Hub says a repository holds: `GET /api/models/<org>/<name>/revision/<revision>?blobs=true`.
//!
//! Invariant: a [`Listing`] has a commit of hexadecimal digits, and names that stay inside the folder they are put in.
//! Source: the reference of the Hub's API.

use gllm_core::DownloadProblem;
use serde::Deserialize;

/// The files of a repository at one commit.
#[derive(Debug, Deserialize)]
pub(crate) struct Listing {
    /// The commit that the revision stands for.
    #[serde(rename = "sha")]
    pub(crate) commit: String,
    #[serde(rename = "siblings", default)]
    pub(crate) files: Vec<Sibling>,
}

/// A file of a repository.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Sibling {
    /// The path within the repository.
    #[serde(rename = "rfilename")]
    pub(crate) name: String,
    pub(crate) size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Clone, Debug, Deserialize)]
struct Lfs {
    sha256: Option<String>,
}

impl Sibling {
    /// The sha256 in lower-case hex, where the Hub states one (it does for large files).
    pub(crate) fn sha256(&self) -> Option<String> {
        self.lfs.as_ref()?.sha256.as_deref().and_then(as_sha256)
    }
}

impl Listing {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, DownloadProblem> {
        let listing: Self = serde_json::from_slice(bytes).map_err(|error| DownloadProblem::Protocol {
            reason: format!("the list of files is not as expected: {error}"),
        })?;
        if listing.commit.is_empty() || !listing.commit.bytes().all(|b| b.is_ascii_hexdigit()) {
            let reason = format!("`{}` is no commit", listing.commit.escape_debug());
            return Err(DownloadProblem::Protocol { reason });
        }
        // Few of the names are used, but a server that lists such ones isn't to be trusted with the rest.
        if let Some(file) = listing.files.iter().find(|file| !is_safe(&file.name)) {
            let reason = format!("the list of files has the unsafe name `{}`", file.name.escape_debug());
            return Err(DownloadProblem::Protocol { reason });
        }
        Ok(listing)
    }
}

/// Whether the name, put behind a folder, stays in it on every system.
pub(crate) fn is_safe(name: &str) -> bool {
    !name.contains(['\\', ':']) && !name.chars().any(char::is_control) && {
        name.split('/').all(|part| !matches!(part, "" | "." | ".."))
    }
}

/// `text` in lower case if it is a sha256 in hex.
pub(crate) fn as_sha256(text: &str) -> Option<String> {
    (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
impl Sibling {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), size: None, lfs: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_unsafe() {
        for name in ["/etc/passwd", "../x", "a/../../x", "a\\..\\x", "C:x", "a//b", "", ".", "a/\0", "a\nb"] {
            assert!(!is_safe(name), "{name:?}");
        }
        for name in ["config.json", "1_Pooling/config.json", "a picture.png", ".gitattributes", "onnx/model..onnx"] {
            assert!(is_safe(name), "{name:?}");
        }
    }

    #[test]
    fn listing_has_commit_sizes_and_hashes() {
        let sha256 = "AB".repeat(32);
        let text = format!(
            r#"{{"sha":"abc123","siblings":[{{"rfilename":"a"}},{{"rfilename":"b","size":7,"lfs":{{"sha256":"{sha256}"}}}}]}}"#
        );
        let listing = Listing::parse(text.as_bytes()).expect("a listing");
        assert_eq!(listing.commit, "abc123");
        assert_eq!((listing.files[0].size, listing.files[0].sha256()), (None, None));
        assert_eq!((listing.files[1].size, listing.files[1].sha256()), (Some(7), Some("ab".repeat(32))));
    }

    #[test]
    fn malformed_listings_are_refused() {
        for text in [
            "",
            "[]",
            "<html>",
            r#"{"sha":"../x"}"#,
            r#"{"sha":""}"#,
            r#"{"sha":"a","siblings":[{"rfilename":"../x"}]}"#,
        ] {
            let error = Listing::parse(text.as_bytes()).expect_err(text);
            assert!(matches!(error, DownloadProblem::Protocol { .. }), "{text}: {error}");
        }
    }
}
