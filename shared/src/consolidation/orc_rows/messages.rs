//! The messages of the ORC specification, as far as they are needed, in Protocol Buffers.
//!
//! <https://orc.apache.org/specification/ORCv1/>, of which the names are. Statistics and indexes are
//! skipped.

use prost::{Enumeration, Message};

/// The end of the file, which says how to read the footer.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PostScript {
    #[prost(uint64, tag = "1")]
    pub(super) footer_length: u64,
    #[prost(enumeration = "CompressionKind", tag = "2")]
    pub(super) compression: i32,
    #[prost(uint64, optional, tag = "3")]
    pub(super) compression_block_size: Option<u64>,
    #[prost(uint64, tag = "5")]
    pub(super) metadata_length: u64,
    #[prost(string, tag = "8000")]
    pub(super) magic: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum CompressionKind {
    None = 0,
    Zlib = 1,
    Snappy = 2,
    Lzo = 3,
    Lz4 = 4,
    Zstd = 5,
    Brotli = 6,
}

/// What is in the file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Footer {
    #[prost(message, repeated, tag = "3")]
    pub(super) stripes: Vec<StripeInformation>,
    #[prost(message, repeated, tag = "4")]
    pub(super) types: Vec<Type>,
    #[prost(uint64, tag = "6")]
    pub(super) number_of_rows: u64,
    /// There if some columns are encrypted.
    #[prost(bytes = "vec", optional, tag = "10")]
    pub(super) encryption: Option<Vec<u8>>,
}

/// Where a stripe stands: its indexes, its data and its footer, one after the other.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct StripeInformation {
    #[prost(uint64, tag = "1")]
    pub(super) offset: u64,
    #[prost(uint64, tag = "2")]
    pub(super) index_length: u64,
    #[prost(uint64, tag = "3")]
    pub(super) data_length: u64,
    #[prost(uint64, tag = "4")]
    pub(super) footer_length: u64,
    #[prost(uint64, tag = "5")]
    pub(super) number_of_rows: u64,
}

/// The type of a column. Columns are numbered from the root, which is 0, in depth.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Type {
    #[prost(enumeration = "TypeKind", tag = "1")]
    pub(super) kind: i32,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) subtypes: Vec<u32>,
    #[prost(string, repeated, tag = "3")]
    pub(super) field_names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum TypeKind {
    Boolean = 0,
    Byte = 1,
    Short = 2,
    Int = 3,
    Long = 4,
    Float = 5,
    Double = 6,
    String = 7,
    Binary = 8,
    Timestamp = 9,
    List = 10,
    Map = 11,
    Struct = 12,
    Union = 13,
    Decimal = 14,
    Date = 15,
    Varchar = 16,
    Char = 17,
    TimestampInstant = 18,
}

/// What is in a stripe.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StripeFooter {
    /// In the order of the stripe, without gaps.
    #[prost(message, repeated, tag = "1")]
    pub(super) streams: Vec<StreamInformation>,
    /// By the numbers of columns.
    #[prost(message, repeated, tag = "2")]
    pub(super) columns: Vec<ColumnEncoding>,
    #[prost(string, tag = "3")]
    pub(super) writer_timezone: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct StreamInformation {
    #[prost(enumeration = "StreamKind", tag = "1")]
    pub(super) kind: i32,
    #[prost(uint32, tag = "2")]
    pub(super) column: u32,
    #[prost(uint64, tag = "3")]
    pub(super) length: u64,
}

/// What a stream holds; the others are indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum StreamKind {
    Present = 0,
    Data = 1,
    Length = 2,
    DictionaryData = 3,
    Secondary = 5,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ColumnEncoding {
    #[prost(enumeration = "EncodingKind", tag = "1")]
    pub(super) kind: i32,
    #[prost(uint32, tag = "2")]
    pub(super) dictionary_size: u32,
}

/// How the values of a column are encoded; the second version has other runs of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum EncodingKind {
    Direct = 0,
    Dictionary = 1,
    DirectV2 = 2,
    DictionaryV2 = 3,
}
