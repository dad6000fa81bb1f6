//! From a pickled state dict to the places of its tensors.
//!
//! The dict is flat: names to tensors. What else a checkpoint may hold, such as an optimiser's state
//! or a state dict within a dict, is refused by its name.

use std::ops::Range;

use super::layout::Layout;
use super::objects::{Storage, Value};
use super::pickle::Pickle;
use super::{Outcome, charge, corrupt, unsupported};
use crate::memory::Memory;
use crate::named::{self, Named};

const FLAT: &str = "a flat state dict of names and tensors";

/// The place of every tensor of `pickle`; `locate` says where in the file of `file_length` bytes a storage is.
pub(super) fn layouts(
    pickle: &Pickle<'_>,
    file_length: usize,
    memory: &mut Memory,
    locate: impl Fn(&Storage<'_>) -> Outcome<Range<usize>>,
) -> Outcome<Named<Layout>> {
    let Pickle { root, objects, .. } = pickle;
    let Value::Dict(root) = *root else {
        return Err(unsupported("checkpoint of", root.kind(), FLAT));
    };
    let entries = objects.dict(root);
    charge(memory, entries.len(), size_of::<(String, Layout)>() + named::ENTRY_BYTES)?;
    let mut layouts = Vec::with_capacity(entries.len());
    let mut copied_bytes = 0_usize;
    for (name, value) in entries {
        let Value::Text(name) = *name else {
            return Err(unsupported("state dict with a key that is", name.kind(), FLAT));
        };
        let Value::Tensor(tensor) = *value else {
            return Err(unsupported("entry", format!("{name}, which is {},", value.kind()), FLAT));
        };
        let tensor = objects.tensor(tensor);
        charge(memory, 1, name.len() + 2 * size_of_val(tensor.shape.as_slice()))?;
        let layout = Layout::new(name, tensor, locate(objects.storage(tensor.storage))?)?;
        // Any number of tensors may view one storage, but a transposed weight is one tensor: what has to be
        // copied is never more than the file.
        copied_bytes = copied_bytes.saturating_add(layout.copied_bytes());
        if copied_bytes > file_length {
            return Err(corrupt(format!("tensor `{name}` and others that aren't contiguous are larger than the file")));
        }
        layouts.push((name.to_owned(), layout));
    }
    Named::new(layouts).map_err(|name| corrupt(format!("tensor `{name}` is there twice")))
}
