//! The Python names that a pickle may mention: a closed list, each with a meaning given here.
//!
//! A name that isn't on the list is refused where it is mentioned, whether or not it would be called.
//! Source: `torch/_utils.py` and `torch/storage.py` of PyTorch 2.

use safetensors::Dtype;

/// A Python name with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// A tensor over a typed storage.
    RebuildTensor,
    /// A tensor over an untyped storage, for element types that have no class of storages.
    RebuildTensorOfType,
    /// A tensor that is a parameter.
    RebuildParameter,
    /// A class of storages: of one element type, or of bytes.
    Storage(Option<Dtype>),
    /// An element type.
    ElementType(Dtype),
}

const TORCH: &str = "torch";

/// Module, name, meaning.
const GLOBALS: [(&str, &str, Global); 23] = [
    ("collections", "OrderedDict", Global::OrderedDict),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils", "_rebuild_tensor_v3", Global::RebuildTensorOfType),
    ("torch._utils", "_rebuild_parameter", Global::RebuildParameter),
    ("torch.storage", "UntypedStorage", Global::Storage(None)),
    (TORCH, "FloatStorage", Global::Storage(Some(Dtype::F32))),
    (TORCH, "HalfStorage", Global::Storage(Some(Dtype::F16))),
    (TORCH, "BFloat16Storage", Global::Storage(Some(Dtype::BF16))),
    (TORCH, "DoubleStorage", Global::Storage(Some(Dtype::F64))),
    (TORCH, "LongStorage", Global::Storage(Some(Dtype::I64))),
    (TORCH, "IntStorage", Global::Storage(Some(Dtype::I32))),
    (TORCH, "ShortStorage", Global::Storage(Some(Dtype::I16))),
    (TORCH, "CharStorage", Global::Storage(Some(Dtype::I8))),
    (TORCH, "ByteStorage", Global::Storage(Some(Dtype::U8))),
    (TORCH, "BoolStorage", Global::Storage(Some(Dtype::BOOL))),
    (TORCH, "uint16", Global::ElementType(Dtype::U16)),
    (TORCH, "uint32", Global::ElementType(Dtype::U32)),
    (TORCH, "uint64", Global::ElementType(Dtype::U64)),
    (TORCH, "float8_e4m3fn", Global::ElementType(Dtype::F8_E4M3)),
    (TORCH, "float8_e5m2", Global::ElementType(Dtype::F8_E5M2)),
    (TORCH, "float8_e8m0fnu", Global::ElementType(Dtype::F8_E8M0)),
    (TORCH, "float8_e4m3fnuz", Global::ElementType(Dtype::F8_E4M3FNUZ)),
    (TORCH, "float8_e5m2fnuz", Global::ElementType(Dtype::F8_E5M2FNUZ)),
];

impl Global {
    /// The meaning of `module.name`, if it has one.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        GLOBALS.iter().find(|global| (global.0, global.1) == (module, name)).map(|global| global.2)
    }
}

/// Bytes of an element of one of the types above, all of which are whole bytes.
pub(super) fn element_size(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_whole_bytes() {
        for (_, name, global) in GLOBALS {
            if let Global::Storage(Some(dtype)) | Global::ElementType(dtype) = global {
                assert!(element_size(dtype) * 8 == dtype.bitsize() && element_size(dtype) > 0, "{name}");
            }
        }
    }

    #[test]
    fn what_is_not_listed_has_no_meaning() {
        for (module, name) in [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("collections", "Counter")] {
            assert_eq!(Global::find(module, name), None);
        }
    }
}
