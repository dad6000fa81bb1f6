//! The kinds of vector that a text can have beside its embedding, and how texts are compared by them.
//!
//! Source: <https://arxiv.org/abs/2402.03216> (M3-Embedding), sections 3.2 and 3.3, and `M3Embedder` of FlagEmbedding.

use serde::{Deserialize, Serialize};

use crate::Embedding;

/// Weights of the vocabulary's tokens for a text: what lexical search compares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SparseVector {
    /// Token ids, ascending, each once.
    pub indices: Vec<u32>,
    /// `[indices]`: the weight of each, above 0.
    pub values: Vec<f32>,
}

impl SparseVector {
    /// The weights of `tokens`, the largest where a token occurs more than once; those not above 0 are dropped.
    ///
    /// ```
    /// use gllm_core::SparseVector;
    /// let vector = SparseVector::max_of([(9, 0.5), (2, 1.0), (9, 2.0), (4, 0.0)]);
    /// assert_eq!(vector, SparseVector { indices: vec![2, 9], values: vec![1.0, 2.0] });
    /// ```
    #[must_use]
    pub fn max_of(tokens: impl IntoIterator<Item = (u32, f32)>) -> Self {
        let mut tokens: Vec<(u32, f32)> = tokens.into_iter().filter(|(_, weight)| *weight > 0.0).collect();
        // The largest weight of a token first, which is the one that stays.
        tokens.sort_by(|(a, x), (b, y)| a.cmp(b).then(y.total_cmp(x)));
        tokens.dedup_by_key(|(token, _)| *token);
        let (indices, values) = tokens.into_iter().unzip();
        Self { indices, values }
    }

    /// Sum over the common tokens of the products of their weights (`compute_lexical_matching_score`).
    ///
    /// ```
    /// use gllm_core::SparseVector;
    /// let a = SparseVector { indices: vec![2, 9], values: vec![0.5, 2.0] };
    /// let b = SparseVector { indices: vec![3, 9], values: vec![1.0, 0.25] };
    /// assert_eq!(a.dot(&b), 0.5);
    /// ```
    #[must_use]
    pub fn dot(&self, other: &Self) -> f32 {
        let products = self.indices.iter().zip(&self.values).filter_map(|(token, weight)| {
            let place = other.indices.binary_search(token).ok()?;
            Some(weight * other.values.get(place)?)
        });
        products.sum()
    }
}

/// A vector for each token of a text: what late interaction (ColBERT) compares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MultiVector {
    /// `[tokens][dimensions]`, each of length 1.
    pub vectors: Vec<Vec<f32>>,
}

impl MultiVector {
    /// Mean over this query's tokens of the largest dot product with a token of `passage` (`colbert_score`); 0 if
    /// either has none. Not symmetric.
    ///
    /// ```
    /// use gllm_core::MultiVector;
    /// let query = MultiVector { vectors: vec![vec![1.0, 0.0], vec![0.0, 1.0]] };
    /// let passage = MultiVector { vectors: vec![vec![0.6, 0.8]] };
    /// assert!((query.max_sim(&passage) - 0.7).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn max_sim(&self, passage: &Self) -> f32 {
        if self.vectors.is_empty() || passage.vectors.is_empty() {
            return 0.0;
        }
        let best =
            |query: &Vec<f32>| passage.vectors.iter().map(|token| dot(query, token)).fold(f32::NEG_INFINITY, f32::max);
        self.vectors.iter().map(best).sum::<f32>() / self.vectors.len() as f32
    }
}

/// How much each kind of score counts in [`Embedding::hybrid_score`].
///
/// The default is that of the example in bge-m3's model card.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HybridWeights {
    /// Of the dot product of the embeddings.
    pub dense: f32,
    /// Of [`SparseVector::dot`].
    pub sparse: f32,
    /// Of [`MultiVector::max_sim`].
    pub multi_vector: f32,
}

impl Default for HybridWeights {
    fn default() -> Self {
        Self { dense: 0.4, sparse: 0.2, multi_vector: 0.4 }
    }
}

impl Embedding {
    /// The weighted mean of the scores for the kinds of vector that both texts have; `self` is the query.
    ///
    /// ```
    /// use gllm_core::{Embedding, HybridWeights, SparseVector};
    /// let sparse = Some(SparseVector { indices: vec![7], values: vec![0.5] });
    /// let text = Embedding { embedding: vec![0.6, 0.8], sparse, ..Embedding::default() };
    /// let score = text.hybrid_score(&text, HybridWeights { dense: 3.0, sparse: 1.0, multi_vector: 1.0 });
    /// assert!((score - (3.0 * 1.0 + 1.0 * 0.25) / 4.0).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn hybrid_score(&self, passage: &Self, weights: HybridWeights) -> f32 {
        let both_dense = !self.embedding.is_empty() && !passage.embedding.is_empty();
        let dense = both_dense.then(|| dot(&self.embedding, &passage.embedding));
        let sparse = self.sparse.as_ref().zip(passage.sparse.as_ref()).map(|(query, passage)| query.dot(passage));
        let multi = self.multi_vector.as_ref().zip(passage.multi_vector.as_ref());
        let multi = multi.map(|(query, passage)| query.max_sim(passage));
        let scores = [(dense, weights.dense), (sparse, weights.sparse), (multi, weights.multi_vector)];
        let (sum, total) = scores.into_iter().fold((0.0, 0.0), |(sum, total), (score, weight)| match score {
            Some(score) => (sum + weight * score, total + weight),
            None => (sum, total),
        });
        if total == 0.0 { 0.0 } else { sum / total }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
