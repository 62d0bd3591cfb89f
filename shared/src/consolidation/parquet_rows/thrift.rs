//! Looks through footers and page headers before the library decodes them, which trusts some of the
//! numbers in them: time and memory would be taken, or the stack be used, for as much as they say.
//!
//! Both are in Thrift's compact encoding:
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

/// The most groups in a schema. The columns of a report are in the one that is the schema itself.
const MAX_GROUPS: usize = 100;

/// The deepest that structures are nested; they are in about eight others.
const MAX_DEPTH: usize = 30;

/// Kinds of values.
mod kind {
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const I16: u8 = 4;
    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const BINARY: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const STRUCT: u8 = 12;
}

/// Field of `FileMetaData` with the schema, a list of `SchemaElement`.
const SCHEMA: i64 = 2;

/// Field of `SchemaElement` with the number of children, which makes it a group.
const NUM_CHILDREN: i64 = 5;

/// Whether decoding a footer takes no more memory and time than its length accounts for.
pub(super) fn is_bounded(footer: &[u8]) -> bool {
    Walk::new(footer).pass_struct(Place::File, 0).is_some()
}

/// The header of a page that these bytes begin with. `None` if they are not all of one, or decoding it
/// takes more than its length accounts for.
pub(super) fn page_header(bytes: &[u8]) -> Option<PageHeader> {
    let mut walk = Walk::new(bytes);
    walk.pass_struct(Place::PageHeader, 0)?;
    walk.page.size?;
    walk.page.length = bytes.len() - walk.rest.len();
    Some(walk.page)
}

/// What the header of a page tells; a number that it does not have is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Bytes of the header itself.
    pub(super) length: usize,
    /// `PageType`.
    pub(super) kind: i64,
    /// Bytes of the page when it is not compressed.
    pub(super) size: Option<i64>,
    /// Bytes of the page in the file.
    pub(super) compressed_size: i64,
    /// Values, null ones too.
    pub(super) values: i64,
    /// `Encoding` of the values.
    pub(super) encoding: i64,
    /// `Encoding` of definition levels in a page of the first version.
    pub(super) level_encoding: i64,
    /// Bytes of the levels in a page of the second version, repetition first.
    pub(super) levels: [i64; 2],
    /// Whether a page of the second version says that its values are not compressed.
    pub(super) is_stored: bool,
}

/// What a structure is, as far as that matters.
#[derive(Clone, Copy)]
enum Place {
    File,
    /// An element of the schema, which has so many.
    SchemaElement(usize),
    PageHeader,
    DataPageHeader,
    DictionaryPageHeader,
    DataPageHeaderV2,
    Other,
}

impl Place {
    /// What a structure in a field is.
    fn of_field(self, id: i64) -> Self {
        match (self, id) {
            (Self::PageHeader, 5) => Self::DataPageHeader,
            (Self::PageHeader, 7) => Self::DictionaryPageHeader,
            (Self::PageHeader, 8) => Self::DataPageHeaderV2,
            _ => Self::Other,
        }
    }

    /// Whether a field is of its kind. The library takes it to be, and so would read on elsewhere.
    fn has_field(self, id: i64, kind: u8) -> bool {
        let expected = match (self, id) {
            (Self::File, 1)
            | (Self::SchemaElement(_), 1..=3 | 5..=9)
            | (Self::PageHeader | Self::DataPageHeader, 1..=4)
            | (Self::DictionaryPageHeader, 1 | 2)
            | (Self::DataPageHeaderV2, 1..=6) => kind::I32,
            (Self::File, 3) => kind::I64,
            (Self::File, 2 | 4 | 5 | 7) => kind::LIST,
            (Self::File, 6) | (Self::SchemaElement(_), 4) => kind::BINARY,
            (Self::SchemaElement(_), 10)
            | (Self::PageHeader, 5..=8)
            | (Self::DataPageHeader, 5)
            | (Self::DataPageHeaderV2, 8) => kind::STRUCT,
            (Self::DictionaryPageHeader, 3) | (Self::DataPageHeaderV2, 7) => {
                return matches!(kind, kind::TRUE | kind::FALSE);
            }
            _ => return true,
        };
        kind == expected
    }
}

impl PageHeader {
    fn note(&mut self, place: Place, id: i64, number: i64) {
        match (place, id) {
            (Place::PageHeader, 1) => self.kind = number,
            (Place::PageHeader, 2) => self.size = Some(number),
            (Place::PageHeader, 3) => self.compressed_size = number,
            (Place::DataPageHeader | Place::DictionaryPageHeader | Place::DataPageHeaderV2, 1) => {
                self.values = number;
            }
            (Place::DataPageHeader | Place::DictionaryPageHeader, 2)
            | (Place::DataPageHeaderV2, 4) => self.encoding = number,
            (Place::DataPageHeader, 3) => self.level_encoding = number,
            (Place::DataPageHeaderV2, 5) => self.levels[1] = number,
            (Place::DataPageHeaderV2, 6) => self.levels[0] = number,
            _ => {}
        }
    }
}

/// Goes through encoded values; every function gives `None` where they end early or are not what
/// footers and page headers have.
struct Walk<'a> {
    rest: &'a [u8],
    groups: usize,
    page: PageHeader,
}

impl<'a> Walk<'a> {
    fn new(encoded: &'a [u8]) -> Self {
        Self {
            rest: encoded,
            groups: 0,
            page: PageHeader::default(),
        }
    }

    fn pass_struct(&mut self, place: Place, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut id = 0_i64;
        loop {
            let head = self.byte()?;
            let (delta, kind) = (head >> 4, head & 0x0F);
            if kind == 0 {
                return Some(());
            }
            id = match delta {
                0 => self.number()?,
                _ => id.checked_add(i64::from(delta))?,
            };
            if !place.has_field(id, kind) {
                return None;
            }
            match (place, id, kind) {
                (Place::SchemaElement(elements), NUM_CHILDREN, _) => {
                    let children = usize::try_from(self.number()?).ok()?;
                    self.groups += usize::from(children > 0);
                    if children > elements || self.groups > MAX_GROUPS {
                        return None;
                    }
                }
                (Place::File, SCHEMA, _) => self.pass_list(depth, Place::SchemaElement)?,
                (Place::DataPageHeaderV2, 7, kind) => self.page.is_stored = kind == kind::FALSE,
                (_, _, kind::TRUE | kind::FALSE) => {}
                (place, id, kind::I32) => {
                    let number = self.number()?;
                    self.page.note(place, id, number);
                }
                (_, _, kind::STRUCT) => self.pass_struct(place.of_field(id), depth + 1)?,
                _ => self.pass_value(kind, depth)?,
            }
        }
    }

    /// Passes a value that is not a truth: those of fields take no bytes, and there are no lists of
    /// them.
    fn pass_value(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            kind::BYTE => self.pass_bytes(1),
            kind::I16 | kind::I32 | kind::I64 => self.number().map(drop),
            kind::DOUBLE => self.pass_bytes(8),
            kind::BINARY => {
                let length = self.varint()?;
                self.pass_bytes(usize::try_from(length).ok()?)
            }
            kind::LIST => self.pass_list(depth, |_| Place::Other),
            kind::STRUCT => self.pass_struct(Place::Other, depth + 1),
            _ => None,
        }
    }

    fn pass_list(&mut self, depth: usize, place: impl Fn(usize) -> Place) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => usize::try_from(self.varint()?).ok()?,
            short => usize::from(short),
        };
        // Every value takes a byte at least.
        if length > self.rest.len() {
            return None;
        }
        for _ in 0..length {
            match head & 0x0F {
                kind::STRUCT => self.pass_struct(place(length), depth + 1)?,
                kind => self.pass_value(kind, depth + 1)?,
            }
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn pass_bytes(&mut self, count: usize) -> Option<()> {
        self.rest = self.rest.get(count..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A whole number, whose sign is in the last bit.
    fn number(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `FileMetaData` with the version 1 and this schema.
    fn footer(elements: u8, schema: &[u8]) -> Vec<u8> {
        [&[0x15, 0x02, 0x19, 0xFC, elements][..], schema, &[0x00]].concat()
    }

    /// A group called `a` of so many children, below 64.
    fn group(children: u8) -> [u8; 6] {
        [0x48, 0x01, b'a', 0x15, children * 2, 0x00]
    }

    const LEAF: [u8; 6] = [0x15, 0x02, 0x38, 0x01, b'b', 0x00];

    #[test]
    fn a_schema_has_as_many_elements_as_it_says() {
        assert!(is_bounded(&footer(2, &[group(1), LEAF].concat())));
        assert!(is_bounded(&footer(3, &[group(2), LEAF, LEAF].concat())));
        assert!(!is_bounded(&footer(2, &[group(3), LEAF].concat())));
        assert!(!is_bounded(&footer(3, &[group(1), LEAF].concat())));
        let mut negative = group(1);
        negative[4] = 0x01;
        assert!(!is_bounded(&footer(2, &[negative, LEAF].concat())));
    }

    #[test]
    fn groups_are_not_nested_without_end() {
        for (groups, is_fine) in [(MAX_GROUPS, true), (MAX_GROUPS + 1, false)] {
            let schema = [group(1).repeat(groups), LEAF.to_vec()].concat();
            let elements = u8::try_from(groups + 1).unwrap();
            assert_eq!(is_bounded(&footer(elements, &schema)), is_fine, "{groups}");
        }
    }

    #[test]
    fn structures_are_not_nested_without_end() {
        // In a field that no footer has: 9.
        for (depth, is_fine) in [
            (MAX_DEPTH, true),
            (MAX_DEPTH + 1, false),
            (1_000_000, false),
        ] {
            let nested = [vec![0x9C; depth], vec![0; depth + 1]].concat();
            assert_eq!(is_bounded(&nested), is_fine, "{depth}");
        }
        let lists = |depth| [&[0x99][..], &vec![0x19; depth], &[0x0C, 0]].concat();
        assert!(is_bounded(&lists(MAX_DEPTH)));
        assert!(!is_bounded(&lists(1_000_000)));
    }

    #[test]
    fn what_ends_early_is_not_bounded() {
        let whole = footer(2, &[group(1), LEAF].concat());
        for length in 0..whole.len() {
            assert!(!is_bounded(&whole[..length]), "{length}");
        }
        // More values in a list than there are bytes, in one of truths too.
        assert!(!is_bounded(&[
            0x99, 0xF3, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0x00
        ]));
        assert!(is_bounded(&[0x99, 0x23, 0x01, 0x01, 0x00]));
        assert!(!is_bounded(&[0x99, 0x21, 0x01, 0x01, 0x00]));
        // A list where a text has to be.
        assert!(!is_bounded(&[0x69, 0x23, 0x01, 0x01, 0x00]));
    }
    #[test]
    fn a_page_header_tells_how_to_read_its_page() {
        // A data page of 150 bytes before compression and 100 after it, with 3 values.
        let header = [
            0x15, 0x00, 0x15, 0xAC, 0x02, 0x15, 0xC8, 0x01, 0x2C, 0x15, 0x06, 0x15, 0x00, 0x00,
            0x00,
        ];
        let told = PageHeader {
            length: header.len(),
            kind: 0,
            size: Some(150),
            compressed_size: 100,
            values: 3,
            ..PageHeader::default()
        };
        assert_eq!(page_header(&header), Some(told));
        assert_eq!(page_header(&[&header[..], b"page"].concat()), Some(told));
        for length in 0..header.len() {
            assert_eq!(page_header(&header[..length]), None, "{length}");
        }
        assert_eq!(page_header(&[0x15, 0x00, 0x00]), None);
        // A text where a number has to be, and a list of truths.
        assert_eq!(page_header(&[0x15, 0x00, 0x18, 0x01, b'a', 0x00]), None);
        assert_eq!(
            page_header(&[0x25, 0x02, 0x79, 0x21, 0x01, 0x01, 0x00]),
            None
        );
    }
}
