//! The options that every request has: what is read of its input, and how much at once.

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

pub(crate) use input_options;
