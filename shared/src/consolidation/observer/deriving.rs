//! Derives the columns of [`crate::derived`] from keys, and asks for each distinct text once.

use std::ops::Range;

use wide::u8x16;

use super::category_of;
use crate::consolidation::rows::{Coded, Dictionary, NULL, Span, Texts};
use crate::derived::{self, Category, MAX_EXTENSION_BYTES};

/// The derived columns of a batch.
#[derive(Debug)]
pub(in crate::consolidation) struct Derived {
    /// The column `extension`.
    pub(in crate::consolidation) extension: Coded,
    /// The column `top_prefix`.
    pub(in crate::consolidation) top_prefix: Coded,
    /// The column `category`.
    pub(in crate::consolidation) category: Coded,
    /// Whether all keys are UTF-8.
    pub(in crate::consolidation) are_texts: bool,
    extensions: Extensions,
}

impl Derived {
    pub(super) fn new() -> Self {
        let mut category = Coded::default();
        for each in Category::ALL {
            category.dictionary.intern(each.as_str().as_bytes());
        }
        Self {
            extension: Coded::default(),
            top_prefix: Coded::default(),
            category,
            are_texts: true,
            extensions: Extensions::default(),
        }
    }

    /// Derives from each key. The error is a row without one.
    pub(super) fn derive(&mut self, keys: &Texts) -> Result<(), usize> {
        if let Some(row) = keys.spans.iter().position(|span| span.is_null()) {
            return Err(row);
        }
        self.derive_top_prefixes(keys);
        let Self {
            extension,
            category,
            extensions,
            are_texts,
            ..
        } = self;
        *are_texts = true;
        extension.clear();
        extensions.begin(&extension.dictionary);
        extension.codes.resize(keys.spans.len(), NULL);
        category.codes.resize(keys.spans.len(), 0);
        let codes = extension.codes.iter_mut().zip(&mut category.codes);
        let buffer: &[u8] = &keys.buffer;
        for (span, (extension_code, category_code)) in keys.spans.iter().zip(codes) {
            let name = Name::of(buffer, *span);
            if !name.is_ascii {
                *are_texts &= std::str::from_utf8(span.of(buffer)).is_ok();
            }
            let (code, known) = extensions.of(&name, &mut extension.dictionary);
            *extension_code = code;
            *category_code = match known {
                Some(category) => category as u32,
                None => category_of(span.of(buffer)) as u32,
            };
        }
        Ok(())
    }

    fn derive_top_prefixes(&mut self, keys: &Texts) {
        let top_prefix = &mut self.top_prefix;
        top_prefix.clear();
        let buffer: &[u8] = &keys.buffer;
        // The top prefix of the row before with its slash, which keys in order mostly share.
        let mut last = Beginning::default();
        let mut last_code = NULL;
        let codes = keys.spans.iter().map(|span| {
            if !last.begins(buffer, *span) {
                let key = span.of(buffer);
                (last, last_code) = if let Some(end) = memchr::memchr(b'/', key) {
                    let code = top_prefix.dictionary.intern(&key[..end]);
                    (Beginning::of(&key[..=end]), code)
                } else {
                    (Beginning::default(), NULL)
                };
            }
            last_code
        });
        top_prefix.codes.extend(codes);
    }
}

/// What keys begin with.
#[derive(Default)]
struct Beginning<'a> {
    /// Empty for what no key begins with.
    bytes: &'a [u8],
    /// The first bytes as a number, and which of its bits count.
    head: u128,
    mask: u128,
}

impl<'a> Beginning<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let mut head = [0; 16];
        let mut mask = [0; 16];
        let length = bytes.len().min(head.len());
        head[..length].copy_from_slice(&bytes[..length]);
        mask[..length].fill(0xFF);
        Self {
            bytes,
            head: u128::from_le_bytes(head),
            mask: u128::from_le_bytes(mask),
        }
    }

    #[inline]
    fn begins(&self, buffer: &[u8], key: Span) -> bool {
        if self.bytes.is_empty() {
            return false;
        }
        match buffer[key.start()..].first_chunk() {
            Some(head) if self.bytes.len() <= head.len() => {
                let differs = (u128::from_le_bytes(*head) ^ self.head) & self.mask != 0;
                !differs && key.length() >= self.bytes.len()
            }
            _ => key.of(buffer).starts_with(self.bytes),
        }
    }
}

/// The parts of a key that tell what kind of object it is.
struct Name<'a> {
    buffer: &'a [u8],
    /// Where the last part of the key begins, and where the key ends.
    start: usize,
    end: usize,
    /// Where in that part the last dot stands and the one before, if they do.
    dot: Option<usize>,
    inner_dot: Option<usize>,
    /// Whether all of the key is known to be ASCII.
    is_ascii: bool,
}

/// Bytes at the end of a key that are looked through at once.
const NEAR: usize = 64;

impl<'a> Name<'a> {
    #[inline]
    fn of(buffer: &'a [u8], key: Span) -> Self {
        let end = key.end();
        let Some(near) = end
            .checked_sub(NEAR)
            .and_then(|from| buffer[from..].first_chunk::<NEAR>())
        else {
            return Self::far(buffer, key);
        };
        // A bit for each byte, the highest for the last one. Those before the key do not count.
        let within = match NEAR.saturating_sub(key.length()) {
            NEAR => return Self::far(buffer, key),
            before => u64::MAX << before,
        };
        let slashes = places_of(b'/', near) & within;
        let in_name = if slashes > 0 {
            u64::MAX << (u64::BITS - 1 - slashes.leading_zeros()) << 1
        } else {
            within
        };
        let start = if slashes > 0 || key.length() <= NEAR {
            end - in_name.leading_ones() as usize
        } else {
            let before = &buffer[key.start()..end - NEAR];
            memchr::memrchr(b'/', before).map_or(key.start(), |slash| key.start() + slash + 1)
        };
        let dots = places_of(b'.', near) & in_name;
        let distance = |dots: u64| dots.leading_zeros() as usize + 1;
        let last_dot = 1 << 63 >> ((distance(dots) - 1) % NEAR);
        let inner_dots = dots & !last_dot;
        if inner_dots == 0 && start < end - NEAR {
            return Self::far(buffer, key);
        }
        Self {
            buffer,
            start,
            end,
            dot: (dots > 0).then(|| end - distance(dots)),
            inner_dot: (inner_dots > 0).then(|| end - distance(inner_dots)),
            is_ascii: is_ascii(buffer, key, near),
        }
    }

    /// The same for a name of any length.
    fn far(buffer: &'a [u8], key: Span) -> Self {
        let bytes = key.of(buffer);
        let start = memchr::memrchr(b'/', bytes).map_or(0, |slash| slash + 1);
        let name = &bytes[start..];
        let dot = memchr::memrchr(b'.', name);
        let inner_dot = dot.and_then(|dot| memchr::memrchr(b'.', &name[..dot]));
        let start = key.start() + start;
        Self {
            buffer,
            start,
            end: key.end(),
            dot: dot.map(|dot| start + dot),
            inner_dot: inner_dot.map(|dot| start + dot),
            is_ascii: bytes.is_ascii(),
        }
    }

    fn bytes(&self) -> &'a [u8] {
        &self.buffer[self.start..self.end]
    }
}

/// Whether a key that ends with the near bytes is known to be ASCII.
#[inline]
fn is_ascii(buffer: &[u8], key: Span, near: &[u8; NEAR]) -> bool {
    let mut all = or(near);
    let mut left = key.length().saturating_sub(NEAR);
    while left > 0 {
        let from = (key.start() + left.max(NEAR)) - NEAR;
        let Some(near) = buffer[from..].first_chunk() else {
            return false;
        };
        all |= or(near);
        left = left.saturating_sub(NEAR);
    }
    all.to_bitmask() == 0
}

#[inline]
fn or(bytes: &[u8; NEAR]) -> u8x16 {
    let parts = bytes.as_chunks().0.iter();
    parts.fold(u8x16::splat(0), |all, part| all | u8x16::new(*part))
}

/// For each of the bytes a bit that tells whether it is the one.
#[inline]
fn places_of(byte: u8, bytes: &[u8; NEAR]) -> u64 {
    let wanted = u8x16::splat(byte);
    let mut places = 0;
    for (number, sixteen) in bytes.as_chunks().0.iter().enumerate() {
        let same = u8x16::new(*sixteen).simd_eq(wanted).to_bitmask();
        places |= u64::from(same) << (16 * number);
    }
    places
}

/// What is known of extensions, as they are spelled in keys.
#[derive(Debug, Default)]
struct Extensions {
    spelled: Dictionary,
    /// For each of `spelled` its code in the column, and the category that it decides.
    known: Vec<(u32, Option<Category>)>,
    spelled_epoch: u32,
    column_epoch: u32,
    recent: Recent<(u32, Option<Category>)>,
    wrapped: Wrapped,
}

/// What is known of extensions that do not decide by themselves, with those inside: `log.gz`.
#[derive(Debug, Default)]
struct Wrapped {
    spelled: Dictionary,
    /// For each of `spelled` the category, unless there is more to look at.
    categories: Vec<Option<Category>>,
    recent: Recent<Option<Category>>,
}

impl Extensions {
    fn begin(&mut self, column: &Dictionary) {
        self.spelled.bound();
        if (self.spelled_epoch, self.column_epoch) != (self.spelled.epoch(), column.epoch()) {
            self.spelled = Dictionary::default();
            self.known.clear();
            self.spelled_epoch = self.spelled.epoch();
            self.column_epoch = column.epoch();
            self.recent = Recent::default();
        }
        self.wrapped.begin();
    }

    /// The code of a file name's extension in the column, and the category of the key if no more
    /// than the extension has to be looked at.
    #[inline]
    fn of(&mut self, name: &Name<'_>, column: &mut Dictionary) -> (u32, Option<Category>) {
        let has_rule = derived::may_have_rule(name.bytes());
        let start = match name.dot {
            Some(dot) if dot > name.start && dot + 1 < name.end => dot + 1,
            _ => return (NULL, (!has_rule).then_some(Category::Other)),
        };
        if name.end - start > MAX_EXTENSION_BYTES {
            return (NULL, None);
        }
        let Self {
            spelled,
            known,
            recent,
            wrapped,
            ..
        } = self;
        let (code, category) = recent.get(name.buffer, start..name.end, |bytes| {
            let place = spelled.intern(bytes) as usize;
            if place == known.len() {
                known.push(learn(bytes, column));
            }
            known[place]
        });
        let category = if has_rule {
            None
        } else {
            category.or_else(|| wrapped.of(name, start))
        };
        (code, category)
    }
}

impl Wrapped {
    fn begin(&mut self) {
        let epoch = self.spelled.epoch();
        self.spelled.bound();
        if self.spelled.epoch() != epoch {
            self.categories.clear();
        }
    }

    /// The category of a file name whose extension begins at a place; `None` if more than two
    /// extensions have to be looked at.
    #[inline]
    fn of(&mut self, name: &Name<'_>, extension: usize) -> Option<Category> {
        let stem_end = extension - 1;
        let inner = name.inner_dot.map_or(extension, |dot| dot + 1);
        // Names such as `.env.gz` and `a..gz` are as rare as they are odd.
        let stem = &name.buffer[name.start..stem_end];
        if inner == name.start + 1 || inner == stem_end || derived::may_have_rule(stem) {
            return None;
        }
        if name.end - inner > 2 * MAX_EXTENSION_BYTES {
            return None;
        }
        let Self {
            spelled,
            categories,
            recent,
        } = self;
        recent.get(name.buffer, inner..name.end, |bytes| {
            let place = spelled.intern(bytes) as usize;
            if place == categories.len() {
                categories.push(learn_wrapped(bytes));
            }
            categories[place]
        })
    }
}

/// What was last known of short texts: the most frequent ones are found without hashing and comparing
/// them byte by byte.
#[derive(Debug)]
struct Recent<T> {
    entries: Vec<(u128, usize, T)>,
}

impl<T: Copy + Default> Default for Recent<T> {
    fn default() -> Self {
        Self {
            // No text has no length.
            entries: vec![(0, 0, T::default()); 256],
        }
    }
}

impl<T: Copy> Recent<T> {
    /// What is known of the text at a place, which is not empty.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is for finding a place only"
    )]
    fn get(&mut self, buffer: &[u8], place: Range<usize>, mut find: impl FnMut(&[u8]) -> T) -> T {
        let Some(tail) = buffer[..place.end].last_chunk::<16>() else {
            return find(&buffer[place]);
        };
        let length = place.len();
        if length > tail.len() {
            return find(&buffer[place]);
        }
        let text = u128::from_le_bytes(*tail) >> (8 * (tail.len() - length));
        let folded = (text ^ (text >> 64)) as u64 ^ length as u64;
        // The highest bits of the product depend on all of the text.
        let [slot, ..] = folded.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        let entry = &mut self.entries[usize::from(slot)];
        if (entry.0, entry.1) != (text, length) {
            *entry = (text, length, find(&buffer[place]));
        }
        entry.2
    }
}

fn learn_wrapped(spelled: &[u8]) -> Option<Category> {
    let spelled = String::from_utf8_lossy(spelled);
    let inner = spelled
        .rsplit_once('.')
        .map(|(inner, _)| inner.to_ascii_lowercase());
    let is_decided = inner.is_none_or(|inner| derived::category_by_extension(&inner).is_some());
    is_decided.then(|| derived::category(&format!("x.{spelled}")))
}

fn learn(spelled: &[u8], column: &mut Dictionary) -> (u32, Option<Category>) {
    let spelled = String::from_utf8_lossy(spelled);
    let name = format!("x.{spelled}");
    let code =
        derived::extension(&name).map_or(NULL, |extension| column.intern(extension.as_bytes()));
    let category = derived::category_by_extension(&spelled.to_ascii_lowercase());
    (code, category)
}
