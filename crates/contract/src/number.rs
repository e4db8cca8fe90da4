//! Arrays of numbers: RFC 8746's typed arrays, and NumPy's.

/// The element type of a typed array (RFC 8746 §2.1), of those that JavaScript has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Element {
    U8,
    U8Clamped,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

impl Element {
    /// All of them.
    pub const ALL: [Element; 11] = [
        Element::U8,
        Element::U8Clamped,
        Element::U16,
        Element::U32,
        Element::U64,
        Element::I8,
        Element::I16,
        Element::I32,
        Element::I64,
        Element::F32,
        Element::F64,
    ];

    /// The CBOR tag of an array of these, little-endian.
    pub fn tag(self) -> u64 {
        match self {
            Element::U8 => 64,
            Element::U8Clamped => 68,
            Element::U16 => 69,
            Element::U32 => 70,
            Element::U64 => 71,
            Element::I8 => 72,
            Element::I16 => 77,
            Element::I32 => 78,
            Element::I64 => 79,
            Element::F32 => 85,
            Element::F64 => 86,
        }
    }

    /// The type with this tag.
    pub fn from_tag(tag: u64) -> Option<Element> {
        Element::ALL.into_iter().find(|element| element.tag() == tag)
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Element::U8 | Element::U8Clamped | Element::I8 => 1,
            Element::U16 | Element::I16 => 2,
            Element::U32 | Element::I32 | Element::F32 => 4,
            Element::U64 | Element::I64 | Element::F64 => 8,
        }
    }

    /// One element; `bytes` are as many as [`Element::size`] says.
    pub(crate) fn read(self, bytes: &[u8], big_endian: bool) -> Number {
        let mut word = [0; 8];
        for (at, byte) in bytes.iter().enumerate().take(8) {
            let at = if big_endian { bytes.len() - 1 - at } else { at };
            word[at] = *byte;
        }
        let word = u64::from_le_bytes(word);
        match self {
            Element::U8 | Element::U8Clamped | Element::U16 | Element::U32 | Element::U64 => Number::Integer(word.into()),
            // The cast keeps the bits; the sign is that of the element's own width.
            Element::I8 => Number::Integer((word as u8).cast_signed().into()),
            Element::I16 => Number::Integer((word as u16).cast_signed().into()),
            Element::I32 => Number::Integer((word as u32).cast_signed().into()),
            Element::I64 => Number::Integer(word.cast_signed().into()),
            Element::F32 => Number::Float(f32::from_bits(word as u32).into()),
            Element::F64 => Number::Float(f64::from_bits(word)),
        }
    }
}

pub(crate) enum Number {
    Integer(i128),
    Float(f64),
}

/// A NumPy array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// NumPy's name of the element type, `<f8`; of a structured type, its `descr` as text.
    pub dtype: String,
    /// Length of each dimension.
    pub shape: Vec<u64>,
    /// The elements in C order.
    pub data: Vec<u8>,
}

/// As many as NumPy has.
const DIMENSIONS_MAX: usize = 64;

impl Tensor {
    /// Whether shape, element type and data fit together, as far as the type says how large its elements are.
    pub fn is_sound(&self) -> bool {
        let count = self.shape.iter().try_fold(1_u64, |count, length| count.checked_mul(*length));
        let Some(count) = count.filter(|_| self.shape.len() <= DIMENSIONS_MAX) else { return false };
        match self.element_size() {
            Some(size) => count.checked_mul(size) == Some(self.data.len() as u64),
            None => self.dtype.starts_with('['),
        }
    }

    /// Its elements' type and whether they are big-endian, if they are numbers or truth values of a typed array's kinds.
    pub(crate) fn element(&self) -> Option<(Element, bool)> {
        let element = match self.dtype.get(1..)? {
            "b1" | "u1" => Element::U8,
            "u2" => Element::U16,
            "u4" => Element::U32,
            "u8" => Element::U64,
            "i1" => Element::I8,
            "i2" => Element::I16,
            "i4" => Element::I32,
            "i8" => Element::I64,
            "f4" => Element::F32,
            "f8" => Element::F64,
            _ => return None,
        };
        Some((element, self.dtype.starts_with('>')))
    }

    /// Bytes of one element: `<f8` 8, `<U5` 20 (UTF-32), `<M8[s]` 8; `None` for structured types.
    fn element_size(&self) -> Option<u64> {
        let mut letters = self.dtype.chars();
        letters.next().filter(|order| matches!(order, '<' | '>' | '|'))?;
        let kind = letters.next()?;
        let digits = letters.as_str();
        let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
        let size: u64 = digits[..end].parse().ok()?;
        if kind == 'U' { size.checked_mul(4) } else { Some(size) }
    }
}
