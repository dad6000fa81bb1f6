//! What opening a file may take in memory, whatever the file says.

/// Bytes that opening the smallest file may take.
const LEAST: usize = 16 << 20;

/// Why a file is refused that would take more.
pub(crate) const EXCEEDED: &str = "its header takes more memory than a file of this size is worth";

/// How much longer than what it holds a list may be while it grows: the new one is twice as long as the old one, which
/// goes when all is copied.
pub(crate) const GROWING: usize = 3;

/// Bytes of memory that may still be taken: in all, one and a half times the file and 16 MiB.
pub(crate) struct Memory(usize);

impl Memory {
    /// What a file of so many bytes is worth.
    pub(crate) fn of_file(bytes: usize) -> Self {
        Self(bytes.saturating_add(bytes / 2).saturating_add(LEAST))
    }

    /// Takes so many `bytes`, `count` times; `None` if that is more than is left.
    pub(crate) fn take(&mut self, count: usize, bytes: usize) -> Option<()> {
        self.0 = count.checked_mul(bytes).and_then(|bytes| self.0.checked_sub(bytes))?;
        Some(())
    }
}
