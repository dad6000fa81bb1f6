//! A set of tokens, a bit for each.

/// Tokens that may be chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenMask {
    /// `[vocab / 32, rounded up]`, the lowest bit first.
    words: Vec<u32>,
}

impl TokenMask {
    /// No tokens yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Of the first `n_ids` tokens those whose bits are set, the lowest bit of the first word being token 0.
    pub(crate) fn set_words(&mut self, words: &[u32], n_ids: usize) {
        self.words.clear();
        self.words.extend(words.iter().take(n_ids.div_ceil(32)));
        if !n_ids.is_multiple_of(32)
            && let Some(last) = self.words.get_mut(n_ids / 32)
        {
            *last &= (1 << (n_ids % 32)) - 1;
        }
    }

    /// Adds the token `id`.
    pub fn allow(&mut self, id: u32) {
        let word = id as usize / 32;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (id % 32);
    }

    /// Takes the token `id` out.
    pub fn forbid(&mut self, id: u32) {
        if let Some(word) = self.words.get_mut(id as usize / 32) {
            *word &= !(1 << (id % 32));
        }
    }

    /// Whether the token `id` is in it.
    #[must_use]
    pub fn allows(&self, id: u32) -> bool {
        self.words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
    }

    /// The tokens in it, by id.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.words.len() as u32 * 32).filter(|id| self.allows(*id))
    }

    /// Rules out, in `logits` (`[vocab]`), the tokens that aren't in it.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        let words = self.words.iter().copied().chain(std::iter::repeat(0));
        for (logits, word) in logits.chunks_mut(32).zip(words) {
            if word == u32::MAX {
                continue;
            }
            for (bit, logit) in logits.iter_mut().enumerate() {
                if word >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }
}

impl FromIterator<u32> for TokenMask {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut mask = Self::new();
        ids.into_iter().for_each(|id| mask.allow(id));
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::TokenMask;

    #[test]
    fn words_are_cut_behind_the_last_token() {
        let ids = |words: &[u32], n_ids| {
            let mut mask: TokenMask = [3].into_iter().collect();
            mask.set_words(words, n_ids);
            mask.ids().collect::<Vec<_>>()
        };
        assert_eq!(ids(&[1 << 31, u32::MAX], 34), [31, 32, 33]);
        assert_eq!(ids(&[1 << 31, u32::MAX], 32), [31]);
        assert_eq!(ids(&[6], 40), [1, 2]);
    }

    #[test]
    fn tokens_come_and_go() {
        let mut mask = TokenMask::new();
        assert!(!mask.allows(64));
        mask.allow(64);
        mask.allow(3);
        mask.forbid(1000);
        assert_eq!(mask.ids().collect::<Vec<_>>(), [3, 64]);
        mask.forbid(64);
        assert_eq!(mask.ids().collect::<Vec<_>>(), [3]);
    }
}
