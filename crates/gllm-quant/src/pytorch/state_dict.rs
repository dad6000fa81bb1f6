//! From a pickled state dict to the places of its tensors.
//!
//! The dict is flat: names to tensors. What else a checkpoint may hold, such as an optimiser's state
//! or a state dict within a dict, is refused by its name.

use std::collections::BTreeMap;
use std::ops::Range;

use super::layout::Layout;
use super::objects::{Storage, Value};
use super::pickle::Pickle;
use super::{Outcome, corrupt, unsupported};

const FLAT: &str = "a flat state dict of names and tensors";

/// The place of every tensor of `pickle`; `locate` says where in the file of `file_length` bytes a storage is.
pub(super) fn layouts(
    pickle: &Pickle<'_>,
    file_length: usize,
    locate: impl Fn(&Storage<'_>) -> Outcome<Range<usize>>,
) -> Outcome<BTreeMap<String, Layout>> {
    let Pickle { root, objects, .. } = pickle;
    let Value::Dict(root) = *root else {
        return Err(unsupported("checkpoint of", root.kind(), FLAT));
    };
    let mut layouts = BTreeMap::new();
    let mut copied_bytes = 0_usize;
    for (name, value) in objects.dict(root) {
        let Value::Text(name) = *name else {
            return Err(unsupported("state dict with a key that is", name.kind(), FLAT));
        };
        let Value::Tensor(tensor) = *value else {
            return Err(unsupported("entry", format!("{name}, which is {},", value.kind()), FLAT));
        };
        let tensor = objects.tensor(tensor);
        let layout = Layout::new(name, tensor, locate(objects.storage(tensor.storage))?)?;
        // Any number of tensors may view one storage, but a transposed weight is one tensor: what has to be
        // copied is never more than the file.
        copied_bytes = copied_bytes.saturating_add(layout.copied_bytes());
        if copied_bytes > file_length {
            return Err(corrupt(format!("tensor `{name}` and others that aren't contiguous are larger than the file")));
        }
        if layouts.insert(name.to_owned(), layout).is_some() {
            return Err(corrupt(format!("tensor `{name}` is there twice")));
        }
    }
    Ok(layouts)
}
