//! What the targets share: an input becomes a file, and the file must open or be refused.
//!
//! A target fails on a panic, and where opening a file and reading every tensor in it, one after the other, takes more
//! than one and a half times the file's size and 16 MiB of memory at any time.

use std::fs;
use std::sync::LazyLock;

use gllm_quant::WeightFiles;
use peak_alloc::PeakAlloc;
use tempfile::TempDir;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));

/// Makes `bytes` the one file in a folder, called `name`, opens the folder, and reads all tensors.
pub fn open(bytes: &[u8], name: &str) {
    fs::write(FOLDER.path().join(name), bytes).expect("writable");
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    if let Ok(files) = WeightFiles::open(FOLDER.path()) {
        for name in files.names() {
            let (tensor, _) = files.get(name).expect("it was listed");
            assert!(tensor.bytes.len() <= bytes.len(), "`{name}` is longer than the file");
        }
    }
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let limit = bytes.len() + bytes.len() / 2 + (16 << 20);
    assert!(taken <= limit, "{taken} bytes of memory for a file of {}", bytes.len());
}
