//! Attention by tiles: a few queries of a sequence that see the same keys.
//!
//! The softmax is computed as it goes, a page of keys at a time (<https://arxiv.org/abs/2205.14135>), so no more than a
//! page's scores are there at once, and a page is read once for a tile. Each query's result is the same, bit for bit,
//! whatever tile it is in.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

mod cached;
mod whole;

use std::borrow::Cow;
use std::ops::Range;

use super::exp::{exp, tanh};
use super::simd::{Isa, Kernel, LANES, Simd};
use crate::kv_cache::{PAGE, padded};

pub(crate) use cached::{CachedAttention, QkWeights};
pub(crate) use whole::WholeAttention;

/// Queries of a tile.
const TILE: usize = 8;

/// Multiplications that are worth waking other threads for.
const PARALLEL: usize = 1 << 19;

/// The keys and values of a head, page by page.
trait Pages {
    /// `[head_dim, PAGE]`.
    fn keys(&self, page: usize) -> Cow<'_, [f32]>;

    /// `[PAGE, padded(head_dim)]`.
    fn values(&self, page: usize) -> Cow<'_, [f32]>;
}

/// What queries attend to.
struct Seen<'a, P> {
    pages: &'a P,
    /// Scores `s` become `c · tanh(s / c)`.
    soft_cap: Option<f32>,
}

/// Lets up to [`TILE`] queries attend. `query` writes the `index`th of them, scaled; it sees the places `visible(index)`,
/// at least one.
///
/// # Shapes
/// - returns `[queries, padded(head_dim)]`
fn attend<P: Pages>(
    isa: Isa,
    seen: &Seen<'_, P>,
    n_queries: usize,
    head_dim: usize,
    query: impl FnMut(usize, &mut [f32]),
    visible: impl Fn(usize) -> Range<usize>,
) -> Vec<f32> {
    match n_queries {
        1 => attend_tile::<P, 1>(isa, seen, n_queries, head_dim, query, visible),
        2..=4 => attend_tile::<P, 4>(isa, seen, n_queries, head_dim, query, visible),
        _ => attend_tile::<P, TILE>(isa, seen, n_queries, head_dim, query, visible),
    }
}

fn attend_tile<P: Pages, const T: usize>(
    isa: Isa,
    seen: &Seen<'_, P>,
    n_queries: usize,
    head_dim: usize,
    mut query: impl FnMut(usize, &mut [f32]),
    visible: impl Fn(usize) -> Range<usize>,
) -> Vec<f32> {
    let mut queries = vec![[0.0; T]; head_dim];
    let mut one = vec![0.0; head_dim];
    for column in 0..n_queries {
        query(column, &mut one);
        for (row, x) in queries.iter_mut().zip(&one) {
            row[column] = *x;
        }
    }
    // What fills up the tile sees what its last query sees.
    let visible = std::array::from_fn(|column| visible(column.min(n_queries - 1)));
    let mut out = vec![0.0; T * padded(head_dim)];
    isa.run(Tile { queries: &queries, visible, seen, out: &mut out });
    out.truncate(n_queries * padded(head_dim));
    out
}

struct Tile<'a, P, const T: usize> {
    /// `[head_dim]`, scaled.
    queries: &'a [[f32; T]],
    /// The places that each query sees.
    visible: [Range<usize>; T],
    seen: &'a Seen<'a, P>,
    /// `[T, padded(head_dim)]`, zeros.
    out: &'a mut [f32],
}

/// Those of `places` that are on a page, counted from its first.
fn on_page(places: &Range<usize>, page: usize) -> Range<usize> {
    let on = |place: usize| place.saturating_sub(page * PAGE).min(PAGE);
    on(places.start)..on(places.end)
}

impl<P: Pages, const T: usize> Kernel for Tile<'_, P, T> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { queries, visible, seen: Seen { pages, soft_cap }, out } = self;
        let head_dim = queries.len();
        let width = padded(head_dim);
        let mut largest = [f32::NEG_INFINITY; T];
        let mut sums = [simd.splat(0.0); T];
        let mut weights = [[0.0; PAGE]; T];
        let first = visible.iter().map(|places| places.start).min().unwrap_or(0) / PAGE;
        let end = visible.iter().map(|places| places.end).max().unwrap_or(0).div_ceil(PAGE);
        for page in first..end {
            let visible: [Range<usize>; T] = std::array::from_fn(|query| on_page(&visible[query], page));
            let seen = visible.iter().filter(|places| !places.is_empty());
            let start = seen.clone().map(|places| places.start).min().unwrap_or(0);
            let read = start..seen.map(|places| places.end).max().unwrap_or(0);
            dot_products(simd, queries, &pages.keys(page), &read, &mut weights);
            for (query, visible) in visible.iter().enumerate() {
                if visible.is_empty() {
                    weights[query] = [0.0; PAGE];
                    continue;
                }
                let out = &mut out[query * width..(query + 1) * width];
                let state = (&mut largest[query], &mut sums[query]);
                softmax_step(simd, &mut weights[query], visible, *soft_cap, state, out);
            }
            add_values(simd, &weights, &pages.values(page), &read, out);
        }
        for (out, sum) in out.chunks_exact_mut(width).zip(sums) {
            let inverse = simd.splat(1.0 / simd.sum(sum));
            for out in out.as_chunks_mut().0 {
                *out = simd.to_array(simd.mul(simd.load(out), inverse));
            }
        }
    }
}

/// Queries of a tile that an instruction set has the registers for, two vectors each, of those that are left.
#[inline(always)]
fn at_once<S: Simd>(left: usize) -> usize {
    [8, 4, 2].into_iter().find(|queries| *queries <= left && 2 * queries <= S::ROWS * S::VECTORS).unwrap_or(1)
}

/// `queries · keys` for those of a page that are read, and their neighbours.
#[inline(always)]
fn dot_products<S: Simd, const T: usize>(
    simd: S,
    queries: &[[f32; T]],
    keys: &[f32],
    read: &Range<usize>,
    products: &mut [[f32; PAGE]; T],
) {
    let mut first = 0;
    while first < T {
        let n_queries = at_once::<S>(T - first);
        let products = &mut products[first..first + n_queries];
        match n_queries {
            8 => some_dot_products::<S, T, 8>(simd, (queries, first), keys, read, products),
            4 => some_dot_products::<S, T, 4>(simd, (queries, first), keys, read, products),
            2 => some_dot_products::<S, T, 2>(simd, (queries, first), keys, read, products),
            _ => some_dot_products::<S, T, 1>(simd, (queries, first), keys, read, products),
        }
        first += n_queries;
    }
}

/// [`dot_products`] of `Q` queries, from `first` on.
#[inline(always)]
fn some_dot_products<S: Simd, const T: usize, const Q: usize>(
    simd: S,
    (queries, first): (&[[f32; T]], usize),
    keys: &[f32],
    read: &Range<usize>,
    products: &mut [[f32; PAGE]],
) {
    let keys = keys.as_chunks::<PAGE>().0;
    for part in read.start / (2 * LANES)..read.end.div_ceil(2 * LANES) {
        let mut sums = [[simd.splat(0.0); 2]; Q];
        for (queries, keys) in queries.iter().zip(keys) {
            let keys = &keys.as_chunks::<LANES>().0[2 * part..];
            let keys = [simd.load(&keys[0]), simd.load(&keys[1])];
            for (sums, query) in sums.iter_mut().zip(&queries[first..first + Q]) {
                sums[0] = simd.fma_by(*query, keys[0], sums[0]);
                sums[1] = simd.fma_by(*query, keys[1], sums[1]);
            }
        }
        for (products, sums) in products.iter_mut().zip(sums) {
            let products = &mut products.as_chunks_mut::<LANES>().0[2 * part..];
            products[0] = simd.to_array(sums[0]);
            products[1] = simd.to_array(sums[1]);
        }
    }
}

/// Makes weights of a query's scores, relative to the largest so far, and what was summed before relative to it too.
#[inline(always)]
fn softmax_step<S: Simd>(
    simd: S,
    weights: &mut [f32; PAGE],
    visible: &Range<usize>,
    soft_cap: Option<f32>,
    (largest, sum): (&mut f32, &mut S::V),
    out: &mut [f32],
) {
    let (first, last) = (visible.start / LANES, visible.end.div_ceil(LANES));
    weights[..first * LANES].fill(0.0);
    weights[last * LANES..].fill(0.0);
    let chunks = &mut weights.as_chunks_mut::<LANES>().0[first..last];
    if let Some(cap) = soft_cap {
        for chunk in &mut *chunks {
            let share = tanh(simd, simd.div(simd.load(chunk), simd.splat(cap)));
            *chunk = simd.to_array(simd.mul(share, simd.splat(cap)));
        }
    }
    let scores = chunks.as_flattened_mut();
    let read = scores.len();
    scores[..visible.start - first * LANES].fill(f32::NEG_INFINITY);
    scores[read - (last * LANES - visible.end)..].fill(f32::NEG_INFINITY);
    let mut highest = simd.splat(*largest);
    for chunk in &*chunks {
        highest = simd.max(highest, simd.load(chunk));
    }
    let highest = simd.largest(highest);
    if highest > *largest {
        let shrunk = exp(simd, simd.splat(*largest - highest));
        for out in out.as_chunks_mut().0 {
            *out = simd.to_array(simd.mul(simd.load(out), shrunk));
        }
        *sum = simd.mul(*sum, shrunk);
        *largest = highest;
    }
    let highest = simd.splat(highest);
    for chunk in chunks {
        let weight = exp(simd, simd.sub(simd.load(chunk), highest));
        *sum = simd.add(*sum, weight);
        *chunk = simd.to_array(weight);
    }
}

/// `out += weights · values` for the tokens of a page that one of the queries sees.
#[inline(always)]
fn add_values<S: Simd, const T: usize>(
    simd: S,
    weights: &[[f32; PAGE]; T],
    values: &[f32],
    read: &Range<usize>,
    out: &mut [f32],
) {
    let width = out.len() / T;
    let mut first = 0;
    while first < T {
        let n_queries = at_once::<S>(T - first);
        let weights = &weights[first..first + n_queries];
        let out = &mut out[first * width..(first + n_queries) * width];
        match n_queries {
            8 => add_some_values::<S, 8>(simd, weights, values, read, out),
            4 => add_some_values::<S, 4>(simd, weights, values, read, out),
            2 => add_some_values::<S, 2>(simd, weights, values, read, out),
            _ => add_some_values::<S, 1>(simd, weights, values, read, out),
        }
        first += n_queries;
    }
}

/// [`add_values`] of `Q` queries.
#[inline(always)]
fn add_some_values<S: Simd, const Q: usize>(
    simd: S,
    weights: &[[f32; PAGE]],
    values: &[f32],
    read: &Range<usize>,
    out: &mut [f32],
) {
    let width = out.len() / Q;
    let vectors = width / LANES;
    for pair in 0..vectors.div_ceil(2) {
        // Where the number is odd, the last one twice.
        let columns = [2 * pair * LANES, (2 * pair + 1).min(vectors - 1) * LANES];
        let mut sums = [[simd.splat(0.0); 2]; Q];
        for (query, sums) in sums.iter_mut().enumerate() {
            *sums = columns.map(|column| simd.load(vector(&out[query * width + column..])));
        }
        for place in read.start..read.end.min(PAGE) {
            let row = &values[place * width..(place + 1) * width];
            let values = columns.map(|column| simd.load(vector(&row[column..])));
            for (weights, sums) in weights.iter().zip(&mut sums) {
                sums[0] = simd.fma_by(weights[place], values[0], sums[0]);
                sums[1] = simd.fma_by(weights[place], values[1], sums[1]);
            }
        }
        for (query, sums) in sums.into_iter().enumerate() {
            for (column, sum) in columns.into_iter().zip(sums) {
                out[query * width + column..][..LANES].copy_from_slice(&simd.to_array(sum));
            }
        }
    }
}

/// The first vector of `x`.
#[inline(always)]
fn vector(x: &[f32]) -> &[f32; LANES] {
    x.first_chunk().unwrap_or(&[0.0; LANES])
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Whole {
        keys: Vec<f32>,
        values: Vec<f32>,
        head_dim: usize,
    }

    impl Pages for Whole {
        fn keys(&self, page: usize) -> Cow<'_, [f32]> {
            Cow::Borrowed(&self.keys[page * PAGE * self.head_dim..][..PAGE * self.head_dim])
        }

        fn values(&self, page: usize) -> Cow<'_, [f32]> {
            let size = PAGE * padded(self.head_dim);
            Cow::Borrowed(&self.values[page * size..][..size])
        }
    }

    fn number(i: usize) -> f32 {
        ((i * 7919) % 2003) as f32 / 400.0 - 2.5
    }

    /// Exact, from the definition.
    fn expected(pages: &Whole, query: &[f32], visible: Range<usize>, soft_cap: Option<f32>) -> Vec<f64> {
        let head_dim = pages.head_dim;
        let score = |place: usize| {
            let key = |d: usize| pages.keys[place / PAGE * PAGE * head_dim + d * PAGE + place % PAGE];
            let dot: f64 = (0..head_dim).map(|d| f64::from(query[d]) * f64::from(key(d))).sum();
            soft_cap.map_or(dot, |cap| f64::from(cap) * (dot / f64::from(cap)).tanh())
        };
        let largest = visible.clone().map(score).fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = visible.clone().map(|place| (score(place) - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        let value = |d: usize| {
            let terms = visible.clone().zip(&weights);
            terms.map(|(place, w)| w * f64::from(pages.values[place * padded(head_dim) + d])).sum::<f64>() / total
        };
        (0..head_dim).map(value).collect()
    }

    #[test]
    fn tiles_are_right_and_the_same_on_every_instruction_set_and_one_by_one() {
        for head_dim in [2, 10, 16, 40] {
            let places = 3 * PAGE;
            let pages = Whole {
                keys: (0..places * head_dim).map(|i| number(i + 5) * 0.3).collect(),
                values: (0..places * padded(head_dim)).map(|i| number(3 * i + 1)).collect(),
                head_dim,
            };
            let query = |index: usize, query: &mut [f32]| {
                query.iter_mut().enumerate().for_each(|(d, x)| *x = number(index * 31 + d * 7));
            };
            // Within a page, over borders of pages, nothing before the last page.
            let visible =
                |index: usize| [0..1, 0..64, 3..70, 60..191, 130..131, 0..192, 63..65, 128..192][index].clone();
            for soft_cap in [None, Some(3.0)] {
                let seen = Seen { pages: &pages, soft_cap };
                for n_queries in 1..=TILE {
                    let found = |isa| attend(isa, &seen, n_queries, head_dim, query, visible);
                    let mut sets = Isa::all();
                    let scalar = sets.next().map(found).expect("scalar");
                    for (index, found) in scalar.chunks(padded(head_dim)).enumerate() {
                        let mut own = vec![0.0; head_dim];
                        query(index, &mut own);
                        let exact = expected(&pages, &own, visible(index), soft_cap);
                        for (found, exact) in found.iter().zip(exact) {
                            assert!((f64::from(*found) - exact).abs() <= 2e-5, "{head_dim}: {found}, expected {exact}");
                        }
                        let alone = |isa| attend(isa, &seen, 1, head_dim, |_, q| query(index, q), |_| visible(index));
                        assert!(Isa::all().all(|isa| alone(isa) == *found), "{head_dim}, query {index} alone");
                    }
                    for isa in sets {
                        assert_eq!(found(isa), scalar, "{isa:?}, {head_dim}, {n_queries} queries");
                    }
                }
            }
        }
    }
}
