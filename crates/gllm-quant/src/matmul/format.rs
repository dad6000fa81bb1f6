//! How the weights of a packed matrix are written: bits, scales, minima.
//!
//! A [`Format`] is a value for those who write and check a layout, and a type ([`StaticFormat`]) for kernels, which
//! are compiled once for each. Formats are fewer than block types: what counts is the arithmetic.

use super::{BLOCK, PANEL, PART_BITS};
use crate::blocks::IntegerBlock;

/// The arithmetic of a weight: `w = scale · (value(code) - offset) - minimum`.
///
/// `scale` is a span's `d`, times a sub-block's own scale where there is one; `minimum` is 0, a span's `dmin`, or that
/// times a sub-block's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Codes are below `1 << bits`.
    pub(crate) bits: usize,
    /// Sub-blocks of a block: 1, or 2 of 16 inputs each.
    pub(crate) subs: usize,
    /// Whether a sub-block has a scale of its own.
    pub(crate) has_sub_scales: bool,
    pub(crate) mins: Mins,
    /// Taken off each value, so that values are unsigned.
    pub(crate) offset: i32,
    /// Values of codes, where they aren't the codes.
    pub(crate) table: Option<[u8; 16]>,
    /// How many codes make an activation: one of 8 bits, or two of 15 bits together ([`PART_BITS`]), for weights of 8
    /// bits, which are exact enough for the rounding of activations to be most of the error.
    pub(crate) parts: usize,
}

/// What is subtracted from scaled values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mins {
    None,
    /// `dmin` of the span.
    Span,
    /// `dmin` of the span times the sub-block's own.
    Sub,
    /// The same, in the upper half of the byte that has the sub-block's scale: both are below 16.
    BesideScale,
}

impl Format {
    const fn new(bits: usize, offset: i32) -> Self {
        let parts = if bits == 8 { 2 } else { 1 };
        Self { bits, subs: 1, has_sub_scales: false, mins: Mins::None, offset, table: None, parts }
    }

    const fn mins(mut self, mins: Mins) -> Self {
        self.mins = mins;
        self
    }

    const fn sub_scales(mut self, subs: usize) -> Self {
        self.subs = subs;
        self.has_sub_scales = true;
        self
    }

    const fn table(mut self, values: [i8; 16]) -> Self {
        let mut unsigned = [0; 16];
        let mut code = 0;
        while code < 16 {
            unsigned[code] = values[code].cast_unsigned() ^ 0x80;
            code += 1;
        }
        self.table = Some(unsigned);
        self.offset = 128;
        self
    }

    /// What a code stands for, before the offset is taken off.
    pub(crate) fn value(&self, code: u8) -> u8 {
        self.table.map_or(code, |table| table[usize::from(code)])
    }

    /// Where the integer sum of a sub-block starts, so that the offset comes off: minus the offset times the sum of the
    /// activations. The sum over the first part is shifted by [`PART_BITS`] before the second part's turn, and the
    /// start with it: it is to be divisible.
    pub(crate) const fn start(&self, sum: i32) -> i32 {
        (-self.offset * sum) >> (PART_BITS * (self.parts as u32 - 1))
    }

    /// Whether activations are quantised for `other` as for this one.
    pub(crate) fn quantizes_as(&self, other: &Self) -> bool {
        let key = |format: &Self| (format.subs, format.parts, format.offset);
        key(self) == key(other)
    }

    /// Bytes before the blocks of a span: `d` and, where there are minima, `dmin`, for each output of a panel.
    pub(crate) const fn header_bytes(&self) -> usize {
        let halves = if matches!(self.mins, Mins::None) { 1 } else { 2 };
        halves * 2 * PANEL
    }

    /// Bytes before the codes of a block: scales and minima of its sub-blocks, for each output of a panel.
    pub(crate) const fn sub_bytes(&self) -> usize {
        let scales = if self.has_sub_scales { self.subs } else { 0 };
        let mins = if matches!(self.mins, Mins::Sub) { self.subs } else { 0 };
        (scales + mins) * PANEL
    }

    /// Bytes of a block of a panel.
    pub(crate) const fn block_bytes(&self) -> usize {
        self.sub_bytes() + 64 * self.bits
    }
}

impl FormatKind {
    /// The arithmetic of a block type, if there is code for it.
    pub(crate) fn of<B: IntegerBlock>() -> Option<Self> {
        let format = Format {
            subs: BLOCK / B::SUB,
            has_sub_scales: B::HAS_SUB_SCALES,
            mins: match (B::HAS_MINS, B::HAS_SUB_SCALES) {
                (false, _) => Mins::None,
                (true, false) => Mins::Span,
                (true, true) if B::HAS_SMALL_SCALES => Mins::BesideScale,
                (true, true) => Mins::Sub,
            },
            ..Format::new(B::BITS, B::OFFSET)
        };
        let format = B::TABLE.map_or(format, |values| format.table(values));
        Self::ALL.iter().copied().find(|kind| kind.format() == format)
    }
}

/// A format that code is compiled for.
pub(crate) trait StaticFormat {
    const FORMAT: Format;
}

macro_rules! formats {
    ($($(#[$doc:meta])* $name:ident = $format:expr;)*) => {
        /// Names a [`StaticFormat`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum FormatKind { $($(#[$doc])* $name,)* }

        impl FormatKind {
            /// Every format.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The format as a value.
            pub(crate) const fn format(self) -> Format {
                match self { $(Self::$name => <$name as StaticFormat>::FORMAT,)* }
            }
        }

        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl StaticFormat for $name {
                const FORMAT: Format = $format;
            }
        )*

        /// Evaluates `$body` with `$F` as the type of the format `$kind`.
        macro_rules! for_each_format {
            ($kind:expr, $F:ident => $body:expr) => {
                match $kind {
                    $($crate::matmul::FormatKind::$name => {
                        type $F = $crate::matmul::format_types::$name;
                        $body
                    })*
                }
            };
        }
        pub(crate) use for_each_format;

        /// The types, for [`for_each_format`].
        pub(crate) mod types {
            pub(crate) use super::{$($name,)*};
        }
    };
}

formats! {
    /// `Q4_0`.
    Int4 = Format::new(4, 8);
    /// `Q4_1`.
    Int4Min = Format::new(4, 0).mins(Mins::Span);
    /// `Q5_0`.
    Int5 = Format::new(5, 16);
    /// `Q5_1`.
    Int5Min = Format::new(5, 0).mins(Mins::Span);
    /// `Q8_0`, and 8 bits with one scale for an output.
    Int8 = Format::new(8, 128);
    /// `IQ4_NL`.
    Table4 = Format::new(4, 0).table(IQ4_VALUES);
    /// `TQ1_0`, `TQ2_0`.
    Ternary = Format::new(2, 1);
    /// `Q2_K`.
    K2 = Format::new(2, 0).sub_scales(2).mins(Mins::BesideScale);
    /// `Q3_K`.
    K3 = Format::new(3, 4).sub_scales(2);
    /// `Q4_K`.
    K4 = Format::new(4, 0).sub_scales(1).mins(Mins::Sub);
    /// `Q5_K`.
    K5 = Format::new(5, 0).sub_scales(1).mins(Mins::Sub);
    /// `Q6_K`.
    K6 = Format::new(6, 32).sub_scales(2);
    /// `IQ4_XS`.
    TableK4 = Format::new(4, 0).sub_scales(1).table(IQ4_VALUES);
    /// AWQ and GPTQ in 4 bits: the minimum is the scale times the zero.
    Group4 = Format::new(4, 0).mins(Mins::Sub);
    /// GPTQ in 8 bits: likewise, with 128 taken off codes and zeros.
    Group8 = Format::new(8, 128).mins(Mins::Sub);
}

/// Values of `IQ4_NL` and `IQ4_XS`.
const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
