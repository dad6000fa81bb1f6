//! Calls requests back.

use super::sync::{Arc, AtomicBool, Ordering};

/// Calls requests back: those that have it in their [`crate::RequestOptions`]. Clones are the same token.
///
/// A request that is called back is answered with [`gllm_core::InferenceError::Cancelled`] before the model's next step,
/// unless its answer is there already.
#[derive(Clone, Debug, Default)]
pub struct CancelToken {
    is_cancelled: Arc<AtomicBool>,
}

impl CancelToken {
    /// A token that hasn't been cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls all of the token's requests back, also those that are still to come.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
    }

    /// Whether [`CancelToken::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
    }
}
