//! What a model's thread asks of a model that writes texts: one seam for it and for the models of tests, which fail when
//! they are told to.

use gllm_core::{FinishReason, GenerationResponse, Result};
use gllm_models::{GenerateOptions, GenerationEngine, Prompt, TextSequence};

/// A model. What it writes in a text doesn't depend on the others in a step.
pub(crate) trait TextEngine: Send + Sized + 'static {
    /// A text that is being written.
    type Text: Text;

    /// Begins a text.
    fn begin(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<Self::Text>;

    /// Reads `tokens` tokens of the texts, or one of each, and writes a token of those that are read; whether each goes
    /// on. An error is that of all.
    fn advance(&self, texts: &mut [&mut Self::Text], tokens: usize) -> Result<Vec<Result<()>>>;

    /// Keeps what a text has read for those that begin in the same way.
    fn keep(&self, text: &Self::Text);

    /// Gives back the memory of what a text has read, which is read again. It may be of another engine of the same model.
    fn set_back(&self, text: &mut Self::Text);

    /// Forgets what it kept.
    fn forget(&self);
}

/// A text, as its model's thread sees it.
pub(crate) trait Text {
    /// Tokens that there are of it, those of its prompt among them.
    fn tokens(&self) -> usize;

    /// Tokens that are written.
    fn written(&self) -> usize;

    /// Memory that what there is of it takes when it is read.
    fn bytes(&self) -> usize;

    /// Why it ends, once it does.
    fn finish_reason(&self) -> Option<FinishReason>;

    /// What may be shown beside what was before.
    fn take_piece(&mut self) -> String;

    /// All there is.
    fn response(&self) -> GenerationResponse;
}

impl TextEngine for GenerationEngine {
    type Text = TextSequence;

    fn begin(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<TextSequence> {
        self.begin(prompt, options)
    }

    fn advance(&self, texts: &mut [&mut TextSequence], tokens: usize) -> Result<Vec<Result<()>>> {
        self.advance(texts, tokens)
    }

    fn keep(&self, text: &TextSequence) {
        self.keep(text);
    }

    fn set_back(&self, text: &mut TextSequence) {
        self.set_back(text);
    }

    fn forget(&self) {
        self.forget();
    }
}

impl Text for TextSequence {
    fn tokens(&self) -> usize {
        self.len()
    }

    fn written(&self) -> usize {
        self.tokens().len()
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }

    fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason()
    }

    fn take_piece(&mut self) -> String {
        self.take_piece()
    }

    fn response(&self) -> GenerationResponse {
        self.response()
    }
}
