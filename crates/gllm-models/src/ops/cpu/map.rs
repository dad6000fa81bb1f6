//! A function of each element.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use rayon::prelude::*;

use super::dense::{Then, apply};
use super::simd::{Isa, Kernel, LANES, Simd};

/// Floats that are worth a task of their own: 64 KiB.
const TASK: usize = 16 * 1024;

/// Applies `then` to each element, on all cores where there is enough to do.
pub(crate) fn map(x: &mut [f32], then: Then) {
    let isa = Isa::detect();
    if x.len() <= TASK {
        isa.run(Elements { x, then });
    } else {
        x.par_chunks_mut(TASK).for_each(|x| isa.run(Elements { x, then }));
    }
}

struct Elements<'a> {
    x: &'a mut [f32],
    then: Then,
}

impl Kernel for Elements<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let (chunks, last) = self.x.as_chunks_mut::<LANES>();
        for chunk in chunks {
            *chunk = simd.to_array(apply(simd, simd.load(chunk), self.then));
        }
        if !last.is_empty() {
            let mut chunk = [0.0; LANES];
            chunk[..last.len()].copy_from_slice(last);
            let mapped = simd.to_array(apply(simd, simd.load(&chunk), self.then));
            last.copy_from_slice(&mapped[..last.len()]);
        }
    }
}
