//! Pickles that do more, or other things, than describe a state dict.

use crate::builder::{
    call, checkpoint, global, integer, integers, is_refused, open, persistent, pickle, refusal, state_dict, storage,
    tensor, tensor_with, text, tuple,
};

/// Checks that the pickle of these opcodes is refused with these words.
#[track_caller]
fn opcodes_are_refused(opcodes: &[u8], with: &str) {
    is_refused(&checkpoint(&pickle(opcodes)), with);
}

/// As above, of a state dict with the one value.
#[track_caller]
fn value_is_refused(value: Vec<u8>, with: &str) {
    is_refused(&checkpoint(&state_dict(&[("t", value)])), with);
}

#[test]
fn no_function_is_ever_called() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let marker = dir.path().join("gllm-was-here");
    let touch = text(&format!("touch {}", marker.display()));
    let code = text(&format!("open({:?}, 'w')", marker.display().to_string()));
    for (module, name, argument) in [
        ("os", "system", &touch),
        ("posix", "system", &touch),
        ("subprocess", "getoutput", &touch),
        ("builtins", "eval", &code),
        ("__builtin__", "eval", &code),
        ("builtins", "exec", &code),
        ("torch", "load", &touch),
        ("torch.hub", "load", &touch),
        ("torch._utils", "_rebuild_tensor_v2\u{0}", &touch),
        ("collections", "OrderedDict.__init__", &touch),
    ] {
        let reason = format!("pickle global `{module}.{name} (opcode GLOBAL at byte ");
        let attack = call(module, name, std::slice::from_ref(argument));
        opcodes_are_refused(&attack, &reason);
        value_is_refused(attack.clone(), &reason);
        // As the state of a dict, which nothing looks at, and as an argument.
        opcodes_are_refused(&[b"}}", text("_metadata").as_slice(), &attack, b"sb"].concat(), &reason);
        opcodes_are_refused(&call("collections", "OrderedDict", &[attack]), &reason);
    }
    assert!(!marker.exists(), "a pickle was executed");
}

#[test]
fn other_ways_to_import_or_construct_are_no_opcodes_here() {
    for (opcodes, name) in [
        (&b"(S'touch x'\nios\nsystem\n"[..], "STRING (0x53) at byte 3"),
        (b"(ios\nsystem\n", "INST (0x69)"),
        (b"\x8c\x02os\x8c\x06system\x93", "SHORT_BINUNICODE (0x8c)"),
        (b"NN\x93", "STACK_GLOBAL (0x93)"),
        (b"ctorch\nFloatStorage\n)\x81", "NEWOBJ (0x81)"),
        (b"(ctorch\nFloatStorage\no", "OBJ (0x6f)"),
        (b"\x82\x01", "EXT1 (0x82)"),
        (b"Pstorage\n", "PERSID (0x50)"),
        (b"\x95\0\0\0\0\0\0\0\0", "FRAME (0x95)"),
        (b"\x80\x02", "PROTO (0x80)"),
        (b"\xff", "no opcode (0xff)"),
    ] {
        opcodes_are_refused(opcodes, &format!("pickle opcode `{name}"));
    }
}

#[test]
fn every_opcode_without_operands_is_an_error() {
    for opcode in 0..=u8::MAX {
        refusal(&checkpoint(&[0x80, 2, opcode]));
        refusal(&checkpoint(&pickle(&[b'(', opcode])));
        refusal(&checkpoint(&pickle(&[b'N', opcode, b'N'])));
        // An empty dict is a state dict without tensors.
        if opcode != b'}' {
            refusal(&checkpoint(&pickle(&[opcode])));
        }
    }
}

#[test]
fn functions_take_what_torch_gives_them() {
    value_is_refused(call("torch._utils", "_rebuild_tensor_v2", &[]), "RebuildTensor doesn't take ()");
    value_is_refused(call("torch._utils", "_rebuild_parameter", &[integer(1)]), "doesn't take (an integer)");
    value_is_refused(call("collections", "OrderedDict", &[b"]".to_vec()]), "doesn't take (a list)");
    value_is_refused(call("torch", "FloatStorage", &[]), "doesn't take ()");
    value_is_refused(
        [text("os.system"), tuple(&[]), b"R".to_vec()].concat(),
        "a function was expected, a string found",
    );
    value_is_refused(b"ccollections\nOrderedDict\nNR".to_vec(), "a tuple of arguments was expected, None found");
}

#[test]
fn storages_are_described_as_torch_does() {
    let class = || global("torch", "FloatStorage");
    let id = |parts: &[Vec<u8>]| tensor_with_storage(persistent(parts));
    let parts = |class, location: &str, elements| [text("storage"), class, text("0"), text(location), elements];
    for location in ["cpu", "cuda", "cuda:0", "cuda:15", "mps"] {
        let pickle = state_dict(&[("t", id(&parts(class(), location, integer(6))))]);
        open(&checkpoint(&pickle)).unwrap_or_else(|e| panic!("{e}"));
    }
    for location in ["meta", "", "cuda:", "cuda:x", "cuda:0:1", "http:0", "cpu/../.."] {
        let reason = format!("storage location `{location} at byte ");
        value_is_refused(id(&parts(class(), location, integer(6))), &reason);
    }
    value_is_refused(id(&parts(class(), "cpu", integer(-6))), "-6 as a size, stride or offset");
    value_is_refused(id(&parts(class(), "cpu", text("6"))), "a size, stride or offset was expected, a string found");
    value_is_refused(id(&parts(text("torch.FloatStorage"), "cpu", integer(6))), "a class of storages was expected");
    value_is_refused(id(&parts(global("torch", "uint16"), "cpu", integer(6))), "a class of storages was expected");
    value_is_refused(id(&[text("module"), class(), text("a.py"), text("import os")]), "persistent id `module at byte ");
    value_is_refused(id(&[]), "a persistent id isn't the description of a storage");
    value_is_refused(id(&[text("storage"), class()]), "persistent id `storage at byte ");
    value_is_refused([text("0"), b"Q".to_vec()].concat(), "a persistent id was expected, a string found");
    // Elements that no memory holds, and a view within a storage.
    value_is_refused(id(&parts(class(), "cpu", integer(i64::MAX))), "storage `0` is declared as");
    let view = [text("storage"), class(), text("0"), text("cpu"), integer(6), integers(&[0, 0])];
    value_is_refused(id(&view), "a storage that is a view of another one");
}

fn tensor_with_storage(storage: Vec<u8>) -> Vec<u8> {
    tensor(storage, 0, &[2, 3], &[3, 1])
}

#[test]
fn tensors_stay_within_their_storage() {
    let six = || storage("0", 6);
    value_is_refused(tensor(six(), 1, &[6], &[1]), "tensor `t` of shape [6], strides [1] and offset 1 ends outside");
    value_is_refused(tensor(six(), 0, &[2, 3], &[4, 1]), "ends outside of its storage of 6 elements");
    value_is_refused(tensor(six(), i64::MAX, &[1], &[1]), "ends outside");
    value_is_refused(tensor(six(), 0, &[2], &[i64::MAX]), "ends outside");
    value_is_refused(tensor(six(), 7, &[0], &[1]), "ends outside");
    value_is_refused(tensor(six(), -1, &[1], &[1]), "-1 as a size, stride or offset");
    value_is_refused(tensor(six(), 5, &[6], &[-1]), "-1 as a size, stride or offset");
    value_is_refused(tensor(six(), 0, &[-6], &[1]), "-6 as a size, stride or offset");
    let huge = 1 << 40;
    value_is_refused(tensor(six(), 0, &[huge, huge], &[0, 0]), "tensor `t` has shape [1099511627776, 1099511627776]");
    value_is_refused(tensor(six(), 0, &[huge, huge, 0], &[0, 0, 0]), "tensor `t` has shape");
    value_is_refused(tensor(six(), 0, &[huge], &[0]), "tensor `t` repeats elements");
    value_is_refused(tensor(six(), 0, &[1; 9], &[1; 9]), "a tensor of 9 dimensions, at most 8");
    value_is_refused(tensor(six(), 0, &[2, 3], &[1]), "1 strides of 2 dimensions");
    open(&checkpoint(&state_dict(&[("t", tensor(six(), 0, &[1, 1, 1, 1, 1, 1, 2, 3], &[1; 8]))])))
        .expect("8 is enough");
}

#[test]
fn copies_are_never_larger_than_the_file() {
    // 5000 tensors of 24 bytes, each of which takes half as many bytes of the file.
    let transposed = [b"}(", text("t").as_slice(), &tensor(storage("0", 6), 0, &[3, 2], &[1, 3]), b"q\0"].concat();
    let more: Vec<u8> = (0..5000).flat_map(|name| [text(&format!("{name}")), b"h\0".to_vec()].concat()).collect();
    let reason = "and others that aren't contiguous are larger than the file";
    opcodes_are_refused(&[transposed, more, b"u".to_vec()].concat(), reason);
}

#[test]
fn tensors_are_what_their_storage_holds() {
    let arguments = |grad: &[u8], hooks: Vec<u8>| {
        vec![storage("0", 6), integer(0), integers(&[6]), integers(&[1]), grad.to_vec(), hooks]
    };
    let hooked = [b"}", text("h").as_slice(), b"Ns"].concat();
    value_is_refused(tensor_with(&arguments(b"\x89", hooked.clone())), "a tensor with hooks");
    value_is_refused(tensor_with(&arguments(b"N", b"}".to_vec())), "whether a gradient is wanted was expected");
    let conjugated = [arguments(b"\x89", b"}".to_vec()), vec![hooked]].concat();
    value_is_refused(tensor_with(&conjugated), "a tensor with metadata");
    let typed = [arguments(b"\x89", b"}".to_vec()), vec![global("torch", "uint16")]].concat();
    value_is_refused(call("torch._utils", "_rebuild_tensor_v3", &typed), "either a tensor or its storage says");
    let untyped = [text("storage"), global("torch.storage", "UntypedStorage"), text("0"), text("cpu"), integer(24)];
    value_is_refused(tensor_with_storage(persistent(&untyped)), "either a tensor or its storage says");
}

#[test]
fn names_are_unique_strings() {
    let six = || tensor(storage("0", 6), 0, &[6], &[1]);
    is_refused(&checkpoint(&state_dict(&[("t", six()), ("t", six())])), "tensor `t` is there twice");
    is_refused(&checkpoint(&pickle(&[b"}N", six().as_slice(), b"s"].concat())), "a key that is `None`");
    opcodes_are_refused(b"]", "checkpoint of `a list`");
    open(&checkpoint(&pickle(b"}"))).expect("no tensors at all");
}

#[test]
fn attributes_are_the_metadata_of_a_module() {
    open(&checkpoint(&pickle(&[b"}}", text("_metadata").as_slice(), b"}sb"].concat()))).expect("valid");
    let other = [b"}}", text("__class__").as_slice(), b"Nsb"].concat();
    opcodes_are_refused(&other, "attribute `__class__ at byte ");
    let both = [b"}}(", text("_metadata").as_slice(), b"N", &text("_metadata"), b"Nub"].concat();
    opcodes_are_refused(&both, "attributes other than `_metadata`");
    opcodes_are_refused(b"}Nb", "a dict of attributes was expected, None found");
    opcodes_are_refused(b"]}b", "a dict was expected, a list found");
}

#[test]
fn the_stack_and_the_memo_are_what_they_are() {
    opcodes_are_refused(b"", "the stack is empty");
    opcodes_are_refused(b"(", "the stack is empty");
    opcodes_are_refused(b"N(\x85", "the stack is empty");
    opcodes_are_refused(b"N}", "the pickle ends with values or marks left over");
    opcodes_are_refused(b"(}", "the pickle ends with values or marks left over");
    opcodes_are_refused(b"t", "there is no mark on the stack");
    opcodes_are_refused(b"}(Nu", "a key without a value");
    opcodes_are_refused(b"}NNa", "a list was expected, None found");
    opcodes_are_refused(b"h\0", "memo 0 of 0 is recalled");
    opcodes_are_refused(b"Nq\0h\x01", "memo 1 of 1 is recalled");
    opcodes_are_refused(b"Nj\xff\xff\xff\xff", "memo 4294967295 of 0 is recalled");
    opcodes_are_refused(b"Nr\xff\xff\xff\xff", "memo 4294967295 follows memo of 0 values");
    opcodes_are_refused(b"Nq\x01", "memo 1 follows memo of 0 values");
    opcodes_are_refused(b"q\0", "the stack is empty");
}

#[test]
fn lengths_are_those_of_what_is_there() {
    opcodes_are_refused(b"X\xff\xff\xff\xffabc", "4294967295 bytes were expected, 4 are left");
    opcodes_are_refused(b"X\x02\0\0\0\xff\xfe", "a string isn't UTF-8");
    opcodes_are_refused(b"\x8a\xff123", "255 bytes were expected, 4 are left");
    opcodes_are_refused(b"cos", "the name of a global doesn't end");
    opcodes_are_refused(
        &[&b"c"[..], &b"x".repeat(100_000), b"\nsystem\n"].concat(),
        "the name of a global doesn't end",
    );
    opcodes_are_refused(b"c\xff\nx\n", "the name of a global isn't UTF-8");
    is_refused(&checkpoint(b"\x80\x02}"), "1 bytes were expected, 0 are left");
    is_refused(&checkpoint(b""), "2 bytes were expected, 0 are left");
    // A number of 2040 bits, as a size.
    let long = [&b"\x8a\xff"[..], &[0x7f; 255], b"\x85"].concat();
    let arguments = [storage("0", 6), integer(0), long, integers(&[1]), b"\x89}".to_vec()].concat();
    let huge = [global("torch._utils", "_rebuild_tensor_v2"), b"(".to_vec(), arguments, b"tR".to_vec()].concat();
    value_is_refused(huge, "a size, stride or offset was expected, an integer found");
}

#[test]
fn work_and_memory_are_bounded() {
    opcodes_are_refused(&b"(".repeat(100_000), "more than 16384 values on the stack");
    opcodes_are_refused(&b"N".repeat(100_000), "more than 16384 values on the stack");
    opcodes_are_refused(&[b"}".as_slice(), &b"(u".repeat(3_000_000)].concat(), "more than 4194304 opcodes");
    opcodes_are_refused(&[b"]".as_slice(), &b"Na".repeat(1_000_000)].concat(), "more memory than a file of this size");
    let six = tensor_with(&[storage("0", 6), integer(0), integers(&[6]), integers(&[1]), b"\x89}".to_vec()]);
    let (function_and_arguments, _) = six.split_at(six.len() - 1);
    // The function and its arguments are memorised; each call of them is a tensor.
    let function = global("torch._utils", "_rebuild_tensor_v2");
    let arguments = &function_and_arguments[function.len()..];
    let many = [b"]", function.as_slice(), b"q\0", arguments, b"q\x01Ra", &b"h\0h\x01Ra".repeat(70_000)].concat();
    opcodes_are_refused(&many, "more memory than a file of this size");
}

#[test]
fn depth_is_no_danger() {
    // A tuple in a tuple, very deep; tuples that would be 2^1000 if they were unfolded; a list within itself.
    opcodes_are_refused(&[b")".as_slice(), &b"\x85".repeat(80_000)].concat(), "checkpoint of `a tuple`");
    let doubled: Vec<u8> =
        (0..1000_u32).flat_map(|n| [b"r", &n.to_le_bytes()[..], b"j", &n.to_le_bytes(), b"\x86"].concat()).collect();
    opcodes_are_refused(&[b")".as_slice(), &doubled].concat(), "checkpoint of `a tuple`");
    opcodes_are_refused(b"]q\0h\0a", "checkpoint of `a list`");
    let own = [b"}q\0", text("t").as_slice(), b"h\0s"].concat();
    opcodes_are_refused(&own, "entry `t, which is a dict,`");
}
