//! What a caller hears of a download or a wait, and how it stops one.
//!
//! Invariant: `advanced` gives a position, not a step, so that a file that starts anew only moves it back.

/// Hears how a download goes. Every method has an empty default, and `()` ignores all.
pub trait Progress {
    /// The download begins: number of files and their bytes together, where the server states them.
    fn started(&mut self, _files: usize, _total_bytes: Option<u64>) {}

    /// The file of this name comes next; its bytes, where the server states them.
    fn file(&mut self, _name: &str, _bytes: Option<u64>) {}

    /// Bytes of the model on disk by now, over all files; smaller than before if a file had to start anew.
    fn advanced(&mut self, _done_bytes: u64) {}

    /// Something that a person should know: a wait, a retry, a fall-back.
    fn notice(&mut self, _text: &str) {}

    /// Asked often; `true` ends the download, or the wait for another process, with `DownloadProblem::Cancelled`. What
    /// arrived is kept.
    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {}
