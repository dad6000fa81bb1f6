//! What was read for texts that are finished, for the next one that begins in the same way: a conversation that goes
//! on, or a long instruction before each question.

use crate::KvCache;

/// Most texts that are kept.
const MAX_TEXTS: usize = 8;

/// Most memory that they may take, where they are more than one.
const MAX_BYTES: usize = 256 << 20;

/// Caches of texts, the last used behind the others.
#[derive(Debug, Default)]
pub(crate) struct PrefixCache(Vec<KvCache>);

impl PrefixCache {
    /// A cache with as much as possible of the beginning of `tokens`, but not all: the last token has to be read for
    /// what follows it. `None` if no text begins so.
    pub(crate) fn take(&mut self, tokens: &[u32]) -> Option<KvCache> {
        let longest = tokens.len().checked_sub(1)?;
        let shared = |cache: &KvCache| cache.tokens().iter().zip(tokens).take_while(|(a, b)| a == b).count();
        let found = self.0.iter().map(|cache| shared(cache).min(longest)).enumerate().max_by_key(|(_, len)| *len);
        let (index, len) = found.filter(|(_, len)| *len > 0)?;
        let cache = self.0.remove(index);
        let mut taken = cache.clone();
        taken.truncate(len);
        if len < cache.tokens().len() {
            self.0.push(cache);
        }
        Some(taken)
    }

    /// Keeps the cache of a text that is finished.
    pub(crate) fn give(&mut self, cache: KvCache) {
        if cache.tokens().is_empty() {
            return;
        }
        self.0.retain(|other| !cache.tokens().starts_with(other.tokens()));
        self.0.push(cache);
        let bytes = |caches: &[KvCache]| caches.iter().map(KvCache::bytes).sum::<usize>();
        while self.0.len() > 1 && (self.0.len() > MAX_TEXTS || bytes(&self.0) > MAX_BYTES) {
            self.0.remove(0);
        }
    }
}
