//! An interpreter of the pickles that `torch.save` writes for a state dict, and of no others.
//!
//! Every opcode and every global that such a pickle has no use for is refused by name, with its place.
//! The work is bounded: no opcode costs more than its operands, their number is limited, objects take no more memory than
//! a file of its size is worth, and there is no recursion. Source: `Lib/pickle.py` and
//! `Lib/pickletools.py` of Python 3, protocol 2.

use safetensors::Dtype;

use super::globals::Global;
use super::objects::{Objects, Storage, Tensor, Value};
use super::{Outcome, charge, corrupt, unsupported};
use crate::memory::{GROWING, Memory};

/// About 35 opcodes describe a tensor.
const MAX_OPCODES: usize = 1 << 22;
/// Python's pickler sets and appends in batches of 1000.
const MAX_STACK: usize = 1 << 14;
/// Bytes that the stack, the marks and what is taken from the stack at once take, whatever the pickle.
pub(super) const STACK_BYTES: usize = MAX_STACK * GROWING * (2 * size_of::<Value<'_>>() + size_of::<usize>());
const MAX_DIMENSIONS: usize = 8;
/// Longer than any global's name.
const MAX_LINE: usize = 256;

/// Where storages may have been when they were saved; all are read to the same place. Not `meta`, which
/// has no data.
const LOCATIONS: [&str; 6] = ["cpu", "cuda", "mps", "xpu", "hpu", "xla"];

/// One pickle, read to its end.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    /// The pickled object.
    pub(super) root: Value<'a>,
    /// What it is made of.
    pub(super) objects: Objects<'a>,
    /// Where the next byte after the pickle is.
    pub(super) end: usize,
}

/// Reads the pickle that starts at `start` of `bytes`; places in messages count from the start of `bytes`.
pub(super) fn parse<'a>(bytes: &'a [u8], start: usize, memory: &mut Memory) -> Outcome<Pickle<'a>> {
    let interpreter = Interpreter {
        bytes,
        memory,
        position: start,
        opcode_at: start,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        objects: Objects::default(),
    };
    interpreter.run()
}

struct Interpreter<'a, 'm> {
    bytes: &'a [u8],
    memory: &'m mut Memory,
    position: usize,
    /// Where the opcode in hand is, for error messages.
    opcode_at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack; what lies below the last one is out of reach until it is taken away.
    marks: Vec<usize>,
    memo: Vec<Value<'a>>,
    objects: Objects<'a>,
}

impl<'a> Interpreter<'a, '_> {
    fn run(mut self) -> Outcome<Pickle<'a>> {
        let [proto, version] = self.array()?;
        if proto != b'\x80' {
            return Err(self.corrupt("a pickle opens with the opcode PROTO"));
        }
        if version != 2 {
            return Err(unsupported("pickle protocol", version.to_string(), "2"));
        }
        for _ in 0..MAX_OPCODES {
            self.opcode_at = self.position;
            let [opcode] = self.array()?;
            if opcode == b'.' {
                let root = self.pop()?;
                if !self.stack.is_empty() || !self.marks.is_empty() {
                    return Err(self.corrupt("the pickle ends with values or marks left over"));
                }
                return Ok(Pickle { root, objects: self.objects, end: self.position });
            }
            self.step(opcode)?;
            charge(self.memory, 1, self.objects.grown())?;
            if self.stack.len() > MAX_STACK || self.marks.len() > MAX_STACK {
                return Err(self.corrupt(&format!("more than {MAX_STACK} values on the stack")));
            }
        }
        Err(self.corrupt(&format!("more than {MAX_OPCODES} opcodes")))
    }

    fn step(&mut self, opcode: u8) -> Outcome<()> {
        let value = match opcode {
            b'N' => Value::None,
            b'\x88' => Value::Bool(true),
            b'\x89' => Value::Bool(false),
            b'K' => Value::Integer(self.array().map(u8::from_le_bytes)?.into()),
            b'M' => Value::Integer(self.array().map(u16::from_le_bytes)?.into()),
            b'J' => Value::Integer(self.array().map(i32::from_le_bytes)?.into()),
            b'\x8a' => self.long1()?,
            b'X' => self.text()?,
            b'c' => self.global()?,
            b')' => self.objects.new_tuple([]),
            b'\x85' => self.tuple(1)?,
            b'\x86' => self.tuple(2)?,
            b'\x87' => self.tuple(3)?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.objects.new_tuple(items)
            }
            b']' => self.objects.new_list(),
            b'}' => self.objects.new_dict(),
            b'h' => self.recall(u8::from_le_bytes)?,
            b'j' => self.recall(u32::from_le_bytes)?,
            b'Q' => self.persistent()?,
            b'R' => self.reduce()?,
            other => return self.step_without_value(other),
        };
        self.stack.push(value);
        Ok(())
    }

    fn step_without_value(&mut self, opcode: u8) -> Outcome<()> {
        match opcode {
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'q' => self.memorise(u8::from_le_bytes),
            b'r' => self.memorise(u32::from_le_bytes),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)
            }
            b'b' => self.build(),
            other => {
                let found = format!("{} at byte {}", opcode_name(other), self.opcode_at);
                Err(unsupported("pickle opcode", found, "those that torch.save writes for a state dict"))
            }
        }
    }

    fn corrupt(&self, reason: &str) -> super::LoadProblem {
        corrupt(format!("{reason}, at byte {}", self.opcode_at))
    }

    fn expected(&self, expected: &str, found: Value<'_>) -> super::LoadProblem {
        self.corrupt(&format!("{expected} was expected, {} found", found.kind()))
    }

    fn take(&mut self, length: usize) -> Outcome<&'a [u8]> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some(taken) = rest.get(..length) else {
            return Err(self.corrupt(&format!("{length} bytes were expected, {} are left", rest.len())));
        };
        self.position += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn length(&mut self) -> Outcome<usize> {
        // A length that doesn't fit is longer than what is left of the file, too.
        Ok(usize::try_from(self.array().map(u32::from_le_bytes)?).unwrap_or(usize::MAX))
    }

    fn text(&mut self) -> Outcome<Value<'a>> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(Value::Text).map_err(|_| self.corrupt("a string isn't UTF-8"))
    }

    fn long1(&mut self) -> Outcome<Value<'a>> {
        let [length] = self.array()?;
        let bytes = self.take(length.into())?;
        let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut extended = [if negative { 0xff } else { 0 }; 8];
        let Some(low) = extended.get_mut(..bytes.len()) else { return Ok(Value::LongInteger(bytes)) };
        low.copy_from_slice(bytes);
        Ok(Value::Integer(i64::from_le_bytes(extended)))
    }

    fn line(&mut self) -> Outcome<&'a str> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let end = rest.iter().take(MAX_LINE).position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| self.corrupt("the name of a global doesn't end"))?;
        self.position += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| self.corrupt("the name of a global isn't UTF-8"))
    }

    fn global(&mut self) -> Outcome<Value<'a>> {
        let (module, name) = (self.line()?, self.line()?);
        Global::find(module, name).map(Value::Global).ok_or_else(|| {
            let found = format!("{module}.{name} (opcode GLOBAL at byte {})", self.opcode_at);
            unsupported("pickle global", found, "those that torch.save writes for a state dict of dense tensors")
        })
    }

    fn pop(&mut self) -> Outcome<Value<'a>> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(self.corrupt("the stack is empty"));
        }
        self.stack.pop().ok_or_else(|| self.corrupt("the stack is empty"))
    }

    fn pop_to_mark(&mut self) -> Outcome<Vec<Value<'a>>> {
        let mark = self.marks.pop().ok_or_else(|| self.corrupt("there is no mark on the stack"))?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Outcome<Value<'a>> {
        let top = self.pop()?;
        self.stack.push(top);
        Ok(top)
    }

    fn tuple(&mut self, length: usize) -> Outcome<Value<'a>> {
        let mut items = [Value::None; 3];
        for item in items[..length].iter_mut().rev() {
            *item = self.pop()?;
        }
        Ok(self.objects.new_tuple(items.into_iter().take(length)))
    }

    fn operand<const N: usize, I: Into<u32>>(&mut self, decode: fn([u8; N]) -> I) -> Outcome<usize> {
        let place: u32 = decode(self.array()?).into();
        Ok(usize::try_from(place).unwrap_or(usize::MAX))
    }

    /// Python numbers what it memorises from zero; a gap would only be there to make the memo large.
    fn memorise<const N: usize, I: Into<u32>>(&mut self, decode: fn([u8; N]) -> I) -> Outcome<()> {
        let place = self.operand(decode)?;
        if place != self.memo.len() {
            return Err(self.corrupt(&format!("memo {place} follows memo of {} values", self.memo.len())));
        }
        let top = self.top()?;
        charge(self.memory, GROWING, size_of::<Value<'_>>())?;
        self.memo.push(top);
        Ok(())
    }

    fn recall<const N: usize, I: Into<u32>>(&mut self, decode: fn([u8; N]) -> I) -> Outcome<Value<'a>> {
        let place = self.operand(decode)?;
        let value = self.memo.get(place).copied();
        value.ok_or_else(|| self.corrupt(&format!("memo {place} of {} is recalled", self.memo.len())))
    }

    fn set_items(&mut self, items: &[Value<'a>]) -> Outcome<()> {
        let dict = match self.top()? {
            Value::Dict(dict) => dict,
            other => return Err(self.expected("a dict", other)),
        };
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(self.corrupt("a key without a value"));
        };
        for [key, value] in pairs {
            self.objects.set(dict, *key, *value);
        }
        Ok(())
    }

    fn append(&mut self, items: Vec<Value<'a>>) -> Outcome<()> {
        match self.top()? {
            Value::List(list) => self.objects.append(list, items),
            other => return Err(self.expected("a list", other)),
        }
        Ok(())
    }

    /// The attributes of an `OrderedDict`: a module's versions, which say nothing of its tensors.
    fn build(&mut self) -> Outcome<()> {
        let (state, target) = (self.pop()?, self.top()?);
        let Value::Dict(_) = target else { return Err(self.expected("a dict", target)) };
        let Value::Dict(state) = state else { return Err(self.expected("a dict of attributes", state)) };
        match self.objects.dict(state) {
            [] | [(Value::Text("_metadata"), _)] => Ok(()),
            [(Value::Text(other), _)] => {
                let found = format!("{other} at byte {}", self.opcode_at);
                Err(unsupported("attribute", found, "_metadata"))
            }
            _ => Err(self.corrupt("attributes other than `_metadata`")),
        }
    }

    /// `('storage', class, key, location, elements)`; before PyTorch 1.6 also a view, which must be None.
    fn persistent(&mut self) -> Outcome<Value<'a>> {
        let id = self.pop()?;
        let Value::Tuple(id) = id else { return Err(self.expected("a persistent id", id)) };
        let (class, key, location, elements) = match *self.objects.tuple(id) {
            [Value::Text("storage"), class, key, location, elements]
            | [Value::Text("storage"), class, key, location, elements, Value::None] => (class, key, location, elements),
            [Value::Text("storage"), _, _, _, _, _] => {
                return Err(self.corrupt("a storage that is a view of another one"));
            }
            [Value::Text(kind), ..] => {
                let found = format!("{kind} at byte {}", self.opcode_at);
                return Err(unsupported("persistent id", found, "storage"));
            }
            _ => return Err(self.corrupt("a persistent id isn't the description of a storage")),
        };
        let Value::Global(Global::Storage(dtype)) = class else {
            return Err(self.expected("a class of storages", class));
        };
        let Value::Text(key) = key else { return Err(self.expected("a storage's key", key)) };
        let Value::Text(location) = location else { return Err(self.expected("a storage's location", location)) };
        if !is_known_location(location) {
            let found = format!("{location} at byte {}", self.opcode_at);
            return Err(unsupported("storage location", found, &LOCATIONS.join(", ")));
        }
        let elements = self.count(elements)?;
        Ok(self.objects.new_storage(Storage { key, dtype, elements }))
    }

    fn count(&self, value: Value<'_>) -> Outcome<usize> {
        match value {
            Value::Integer(count) => {
                usize::try_from(count).map_err(|_| self.corrupt(&format!("{count} as a size, stride or offset")))
            }
            other => Err(self.expected("a size, stride or offset", other)),
        }
    }

    fn counts(&self, value: Value<'_>) -> Outcome<Vec<usize>> {
        let Value::Tuple(tuple) = value else { return Err(self.expected("a tuple of sizes or strides", value)) };
        let items = self.objects.tuple(tuple);
        if items.len() > MAX_DIMENSIONS {
            let reason = format!("a tensor of {} dimensions, at most {MAX_DIMENSIONS} are read", items.len());
            return Err(self.corrupt(&reason));
        }
        items.iter().map(|item| self.count(*item)).collect()
    }

    fn reduce(&mut self) -> Outcome<Value<'a>> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Tuple(arguments) = arguments else { return Err(self.expected("a tuple of arguments", arguments)) };
        let Value::Global(function) = function else { return Err(self.expected("a function", function)) };
        match (function, self.objects.tuple(arguments)) {
            (Global::OrderedDict, []) => Ok(self.objects.new_dict()),
            (Global::RebuildTensor, &[storage, offset, shape, strides, grad, hooks, ref metadata @ ..]) => {
                self.plain(grad, hooks, metadata)?;
                self.rebuild(storage, offset, shape, strides, None)
            }
            (
                Global::RebuildTensorOfType,
                &[
                    storage,
                    offset,
                    shape,
                    strides,
                    grad,
                    hooks,
                    Value::Global(Global::ElementType(dtype)),
                    ref metadata @ ..,
                ],
            ) => {
                self.plain(grad, hooks, metadata)?;
                self.rebuild(storage, offset, shape, strides, Some(dtype))
            }
            (Global::RebuildParameter, &[tensor @ Value::Tensor(_), grad, hooks]) => {
                self.plain(grad, hooks, &[])?;
                Ok(tensor)
            }
            (function, arguments) => {
                let kinds: Vec<_> = arguments.iter().map(|argument| argument.kind()).collect();
                Err(self.corrupt(&format!("{function:?} doesn't take ({})", kinds.join(", "))))
            }
        }
    }

    /// Nothing that would change a tensor's values: hooks, or metadata such as that it is conjugated.
    fn plain(&self, grad: Value<'_>, hooks: Value<'_>, metadata: &[Value<'_>]) -> Outcome<()> {
        let Value::Bool(_) = grad else { return Err(self.expected("whether a gradient is wanted", grad)) };
        let is_empty = |value: Value<'_>| match value {
            Value::Dict(dict) => self.objects.dict(dict).is_empty(),
            Value::None => true,
            _ => false,
        };
        if !is_empty(hooks) {
            return Err(self.corrupt("a tensor with hooks"));
        }
        match metadata {
            [] => Ok(()),
            [metadata] if is_empty(*metadata) => Ok(()),
            _ => Err(self.corrupt("a tensor with metadata")),
        }
    }

    fn rebuild(
        &mut self,
        storage: Value<'a>,
        offset: Value<'a>,
        shape: Value<'a>,
        strides: Value<'a>,
        dtype: Option<Dtype>,
    ) -> Outcome<Value<'a>> {
        let Value::Storage(storage) = storage else { return Err(self.expected("a storage", storage)) };
        let ((Some(dtype), None) | (None, Some(dtype))) = (self.objects.storage(storage).dtype, dtype) else {
            return Err(self.corrupt("either a tensor or its storage says the type of elements"));
        };
        let (offset, shape, strides) = (self.count(offset)?, self.counts(shape)?, self.counts(strides)?);
        if shape.len() != strides.len() {
            return Err(self.corrupt(&format!("{} strides of {} dimensions", strides.len(), shape.len())));
        }
        Ok(self.objects.new_tensor(Tensor { storage, dtype, offset, shape, strides }))
    }
}

fn is_known_location(location: &str) -> bool {
    let (device, index) = location.split_once(':').unwrap_or((location, "0"));
    LOCATIONS.contains(&device) && !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit())
}

/// The name that `pickletools` gives to an opcode that is refused.
fn opcode_name(opcode: u8) -> String {
    let name = match opcode {
        b'\x80' => "PROTO",
        b'0' => "POP",
        b'1' => "POP_MARK",
        b'2' => "DUP",
        b'F' => "FLOAT",
        b'G' => "BINFLOAT",
        b'I' => "INT",
        b'L' => "LONG",
        b'\x8b' => "LONG4",
        b'P' => "PERSID",
        b'S' => "STRING",
        b'T' => "BINSTRING",
        b'U' => "SHORT_BINSTRING",
        b'V' => "UNICODE",
        b'\x8c' => "SHORT_BINUNICODE",
        b'\x8d' => "BINUNICODE8",
        b'B' => "BINBYTES",
        b'C' => "SHORT_BINBYTES",
        b'\x8e' => "BINBYTES8",
        b'\x96' => "BYTEARRAY8",
        b'\x97' => "NEXT_BUFFER",
        b'\x98' => "READONLY_BUFFER",
        b'd' => "DICT",
        b'l' => "LIST",
        b'\x8f' => "EMPTY_SET",
        b'\x90' => "ADDITEMS",
        b'\x91' => "FROZENSET",
        b'g' => "GET",
        b'p' => "PUT",
        b'\x94' => "MEMOIZE",
        b'\x95' => "FRAME",
        b'i' => "INST",
        b'o' => "OBJ",
        b'\x81' => "NEWOBJ",
        b'\x92' => "NEWOBJ_EX",
        b'\x82' => "EXT1",
        b'\x83' => "EXT2",
        b'\x84' => "EXT4",
        b'\x93' => "STACK_GLOBAL",
        _ => "no opcode",
    };
    format!("{name} ({opcode:#04x})")
}
