//! The options that every request has: what is read of its input, and how much at once; and of one that waits in a queue,
//! how urgent it is.

/// Their setters, for a builder with `options`.
macro_rules! input_options {
    ($builder:ty) => {
        impl $builder {
            /// Longest input in tokens, special tokens included; by default, and at most, the model's limit. In a
            /// ranking, an input is a pair.
            pub fn max_length(mut self, tokens: usize) -> Self {
                self.options.max_length = Some(tokens);
                self
            }

            /// What happens to a longer input; by default it is cut and reported. Of a pair, the document is cut.
            pub fn truncation(mut self, truncation: Truncation) -> Self {
                self.options.truncation = truncation;
                self
            }

            /// Most tokens computed at once, which bounds the memory; results don't depend on it.
            pub fn batch_tokens(mut self, tokens: usize) -> Self {
                self.options.batch_tokens = tokens;
                self
            }
        }
    };
}

/// Setters of what a request that waits in a queue may say of itself, for a builder with `request`.
#[cfg(feature = "async")]
macro_rules! request_options {
    ($builder:ty) => {
        impl $builder {
            /// Which requests it goes before.
            pub fn priority(mut self, priority: gllm_runtime::Priority) -> Self {
                self.request.priority = priority;
                self
            }

            /// From this moment on it isn't wanted, and what is left of its work isn't done.
            pub fn deadline(mut self, deadline: std::time::Instant) -> Self {
                self.request.deadline = Some(deadline);
                self
            }

            /// What happens where as many requests wait as may.
            pub fn when_full(mut self, when_full: gllm_runtime::WhenFull) -> Self {
                self.request.when_full = when_full;
                self
            }

            /// What calls it back; dropping the future does, too.
            pub fn cancelled_by(mut self, token: &gllm_runtime::CancelToken) -> Self {
                self.request.cancel = Some(token.clone());
                self
            }
        }
    };
}

pub(crate) use input_options;
#[cfg(feature = "async")]
pub(crate) use request_options;
