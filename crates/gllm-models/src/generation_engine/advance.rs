//! A step of several texts: one pass through the decoder for all of them, then a token for each that is read.

use burn::tensor::Tensor;
use gllm_core::Result;
use rayon::prelude::*;

use super::GenerationEngine;
use crate::device::to_host;
use crate::{Step, TextSequence, out_of_memory, threads};

impl GenerationEngine {
    /// Reads on in each text that isn't at its end, `tokens` tokens together but at least one of each, and chooses the
    /// next token of those that are read then. The tokens are shared evenly; what a text doesn't need goes to those that
    /// have more to read. On the CPU, what is written doesn't depend on the texts beside it, nor on the shares.
    ///
    /// Returns for each text whether it goes on: one that no token can be chosen for fails alone.
    ///
    /// # Errors
    /// [`gllm_core::OutOfMemory`] if the device has none left, [`gllm_core::InferenceError::Device`] if the computation
    /// fails otherwise, for all of them. They may go on from
    /// [`GenerationEngine::set_back`].
    pub fn advance(&self, texts: &mut [&mut TextSequence], tokens: usize) -> Result<Vec<Result<()>>> {
        let device = self.model.device();
        out_of_memory::pass(tokens, device, || threads::run(device, || self.advance_here(texts, tokens)))
    }

    fn advance_here(&self, texts: &mut [&mut TextSequence], tokens: usize) -> Result<Vec<Result<()>>> {
        let unread: Vec<usize> = texts.iter().map(|text| text.unread()).collect();
        let mut outcomes: Vec<Result<()>> = texts.iter().map(|_| Ok(())).collect();
        if unread.iter().all(|unread| *unread == 0) {
            return Ok(outcomes);
        }
        let shares = shares(&unread, tokens);
        let hidden = self.read(texts, &shares)?;
        let is_read: Vec<bool> = shares.iter().zip(&unread).map(|(share, all)| *share > 0 && share == all).collect();
        let reading = is_read.iter().zip(&shares).filter(|(_, share)| **share > 0);
        let Some(last) = chosen_rows(hidden, reading.map(|(is_read, _)| *is_read)) else { return Ok(outcomes) };
        let mut logits = to_host(self.model.logits(last))?;

        let _span =
            tracing::debug_span!("sample", texts = is_read.iter().filter(|is_read| **is_read).count()).entered();
        let going =
            texts.iter_mut().zip(&mut outcomes).zip(is_read).filter_map(|(text, is_read)| is_read.then_some(text));
        let rows = logits.chunks_exact_mut(self.model.config().vocab_size);
        // A pass over a vocabulary is worth a thread.
        let going: Vec<_> = going.zip(rows).collect();
        going.into_par_iter().for_each(|((text, outcome), logits)| *outcome = text.accept(logits));
        Ok(outcomes)
    }

    /// Reads as many tokens of each text as its share; returns the hidden state of the last for each that has one.
    fn read(&self, texts: &mut [&mut TextSequence], shares: &[usize]) -> Result<Tensor<2>> {
        let reading = texts.iter_mut().zip(shares).filter(|(_, share)| **share > 0);
        let (tokens, caches): (Vec<_>, Vec<_>) = reading.map(|(text, share)| text.next_tokens(*share)).unzip();
        let mut steps: Vec<_> = tokens.iter().zip(caches).map(|(tokens, cache)| Step { tokens, cache }).collect();
        self.model.forward_last(&mut steps)
    }
}

/// The rows that `is_chosen`, `None` if there are none.
fn chosen_rows(hidden: Tensor<2>, is_chosen: impl Iterator<Item = bool>) -> Option<Tensor<2>> {
    let [rows, width] = hidden.dims();
    let chosen = is_chosen.enumerate().filter(|(_, is_chosen)| *is_chosen);
    let mut chosen: Vec<_> = chosen.map(|(row, _)| hidden.clone().slice([row..row + 1, 0..width])).collect();
    match chosen.len() {
        0 => None,
        all if all == rows => Some(hidden),
        1 => chosen.pop(),
        _ => Some(Tensor::cat(chosen, 0)),
    }
}

/// Shares `tokens` among texts that have so many to read each, at least one where there is one.
fn shares(unread: &[usize], tokens: usize) -> Vec<usize> {
    let mut shortest_first: Vec<usize> = (0..unread.len()).collect();
    shortest_first.sort_by_key(|text| unread[*text]);
    let mut shares = vec![0; unread.len()];
    let mut left = tokens;
    for (place, text) in shortest_first.into_iter().enumerate() {
        let share = left / (unread.len() - place);
        shares[text] = share.max(1).min(unread[text]);
        left = left.saturating_sub(shares[text]);
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_needs_little_gets_it_and_the_rest_is_shared() {
        assert_eq!(shares(&[1, 1, 1000, 1], 64), [1, 1, 61, 1]);
        assert_eq!(shares(&[1000, 10, 500, 1], 64), [27, 10, 26, 1]);
        assert_eq!(shares(&[0, 7], 64), [0, 7]);
        // More texts than tokens.
        assert_eq!(shares(&[5; 4], 2), [1; 4]);
        assert_eq!(shares(&[], 2), [0; 0]);
    }

    proptest! {
        #[test]
        fn nobody_waits_and_nothing_is_left_over(unread in prop::collection::vec(0usize..300, 0..20), tokens in 0usize..600) {
            let shares = shares(&unread, tokens);
            let (total, wanted) = (shares.iter().sum::<usize>(), unread.iter().sum::<usize>());
            for (share, unread) in shares.iter().zip(&unread) {
                prop_assert!(*share <= *unread && (*share > 0) == (*unread > 0));
                // Who gets less than is needed gets as much as anybody.
                prop_assert!(share == unread || shares.iter().all(|other| other <= &(share + 1)));
            }
            let reading = unread.iter().filter(|unread| **unread > 0).count();
            prop_assert!(total <= tokens.max(reading));
            prop_assert!(total >= tokens.min(wanted));
        }
    }
}
