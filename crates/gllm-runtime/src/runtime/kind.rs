//! The kinds of models that a runtime holds, and the handles of each.

use gllm_core::{ModelType, Result};

use super::RuntimeConfig;
use crate::load::Found;
use crate::queue::inbox::Shutdown;
#[cfg(feature = "async")]
use crate::{AsyncEmbedderHandle, AsyncGeneratorHandle, AsyncRerankerHandle};
use crate::{EmbedderHandle, GeneratorHandle, RerankerHandle};

/// A handle of a model of some kind.
#[derive(Clone, Debug)]
#[doc(hidden)]
#[non_exhaustive]
pub enum AnyHandle {
    Embedder(EmbedderHandle),
    Reranker(RerankerHandle),
    Generator(GeneratorHandle),
}

impl AnyHandle {
    /// Starts the thread of a model, and waits until it is loaded.
    pub(super) async fn start(found: Found, config: &RuntimeConfig) -> Result<Self> {
        match found.model_type() {
            ModelType::Rerank => {
                let (handle, is_ready) = RerankerHandle::start(found, config.queue)?;
                is_ready.await?;
                Ok(Self::Reranker(handle))
            }
            ModelType::Generator => Ok(Self::Generator(GeneratorHandle::start(found, config.texts).await?)),
            _ => {
                let (handle, is_ready) = EmbedderHandle::start(found, config.queue)?;
                is_ready.await?;
                Ok(Self::Embedder(handle))
            }
        }
    }

    /// What the model is for.
    pub(super) fn model_type(&self) -> ModelType {
        match self {
            Self::Embedder(_) => ModelType::Embedding,
            Self::Reranker(_) => ModelType::Rerank,
            Self::Generator(_) => ModelType::Generator,
        }
    }

    /// Ends the model's thread.
    pub(super) async fn close(&self, how: Shutdown) {
        match self {
            Self::Embedder(handle) => handle.close(how).await,
            Self::Reranker(handle) => handle.close(how).await,
            Self::Generator(handle) => handle.close(how).await,
        }
    }
}

/// A handle that [`super::Runtime::get`] gives. Not for others to implement.
pub trait ModelHandle: Sized + sealed::Sealed {
    /// What models of this kind are for.
    const MODEL_TYPE: ModelType;

    /// The handle, if it is of this kind.
    #[doc(hidden)]
    fn of(handle: AnyHandle) -> Option<Self>;
}

mod sealed {
    pub trait Sealed {}
}

/// Says which kind of model a handle is of.
macro_rules! model_handle {
    ($handle:ty, $kind:ident, $model_type:ident, $convert:expr) => {
        impl sealed::Sealed for $handle {}

        impl ModelHandle for $handle {
            const MODEL_TYPE: ModelType = ModelType::$model_type;

            fn of(handle: AnyHandle) -> Option<Self> {
                match handle {
                    AnyHandle::$kind(handle) => Some($convert(handle)),
                    _ => None,
                }
            }
        }
    };
}

model_handle!(EmbedderHandle, Embedder, Embedding, std::convert::identity);
model_handle!(RerankerHandle, Reranker, Rerank, std::convert::identity);
model_handle!(GeneratorHandle, Generator, Generator, std::convert::identity);
#[cfg(feature = "async")]
model_handle!(AsyncEmbedderHandle, Embedder, Embedding, EmbedderHandle::into_async);
#[cfg(feature = "async")]
model_handle!(AsyncRerankerHandle, Reranker, Rerank, RerankerHandle::into_async);
#[cfg(feature = "async")]
model_handle!(AsyncGeneratorHandle, Generator, Generator, GeneratorHandle::into_async);
