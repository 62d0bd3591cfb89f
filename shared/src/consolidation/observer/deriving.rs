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
        let is_null = |span: &Span| span.is_null();
        // Looks at all of them, which is faster than to stop at the first.
        if keys
            .spans
            .iter()
            .fold(false, |any, span| any | is_null(span))
        {
            return Err(keys.spans.iter().position(is_null).unwrap_or_default());
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
            if !is_ascii(buffer, span.range()) {
                *are_texts &= std::str::from_utf8(span.of(buffer)).is_ok();
            }
            let name = Name::of(buffer, span.range());
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

/// The part of a key that tells what kind of object it is: all that follows the last slash.
struct Name<'a> {
    /// What stands in the buffer up to the end of the key.
    before_end: &'a [u8],
    /// How many bytes of that are the name.
    length: usize,
    /// How many bytes follow its last dot, all if it has none.
    after_dot: usize,
}

impl<'a> Name<'a> {
    #[inline]
    fn of(buffer: &'a [u8], key: Range<usize>) -> Self {
        let before_end = &buffer[..key.end];
        Self::ending(before_end, after_last(b'/', before_end, key.len()))
    }

    #[inline]
    fn ending(before_end: &'a [u8], length: usize) -> Self {
        Self {
            before_end,
            length,
            after_dot: after_last(b'.', before_end, length),
        }
    }

    /// The name without its extension, of which it has one.
    #[inline]
    fn stem(&self) -> Self {
        let left_out = self.after_dot + 1;
        let before_end = &self.before_end[..self.before_end.len() - left_out];
        Self::ending(before_end, self.length - left_out)
    }

    fn bytes(&self) -> &'a [u8] {
        self.last(self.length)
    }

    /// So many bytes at the end.
    fn last(&self, length: usize) -> &'a [u8] {
        &self.before_end[self.before_end.len() - length..]
    }

    /// So many bytes at the end as a number, the very last one highest, with their length above them;
    /// `None` if they are too many for that, or too close to the start of the buffer.
    #[inline]
    fn short(&self, length: usize) -> Option<u64> {
        let tail = u64::from_le_bytes(*self.before_end.last_chunk()?);
        (1..8)
            .contains(&length)
            .then(|| tail >> (64 - 8 * length) | (length as u64) << 56)
    }
}

/// Bytes that are looked through at once.
const NEAR: usize = 64;

/// How many of so many bytes at the end follow the last one of a kind, all if there is none.
#[inline]
fn after_last(byte: u8, mut bytes: &[u8], length: usize) -> usize {
    let mut seen = 0;
    while seen < length {
        let Some((before, near)) = bytes.split_last_chunk() else {
            let place = memchr::memrchr(byte, bytes);
            return place.map_or(length, |place| (seen + bytes.len() - place - 1).min(length));
        };
        let after = places_of(byte, near).leading_zeros() as usize;
        if after < NEAR {
            return (seen + after).min(length);
        }
        seen += NEAR;
        bytes = before;
    }
    length
}

/// Whether a key is known to be ASCII.
#[inline]
fn is_ascii(buffer: &[u8], key: Range<usize>) -> bool {
    let mut all = u8x16::splat(0);
    let mut left = key.len();
    while left > 0 {
        // At the beginning of the key once more what was seen, or else something before the key.
        let end = key.start + left;
        let end = if left < key.len() {
            end.max(key.start + NEAR)
        } else {
            end
        };
        let Some(near) = buffer[..end].last_chunk() else {
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
        let length = name.after_dot;
        if length == 0 || length + 1 >= name.length {
            return (NULL, (!has_rule).then_some(Category::Other));
        }
        if length > MAX_EXTENSION_BYTES {
            return (NULL, None);
        }
        let (code, category) = match self.recent.get(name, length) {
            Some(known) => known,
            None => self.find(name, length, column),
        };
        let category = if has_rule {
            None
        } else {
            category.or_else(|| self.wrapped.of(name))
        };
        (code, category)
    }

    /// The same for an extension of this length that is new, not recent, or too long to be so.
    #[cold]
    fn find(
        &mut self,
        name: &Name<'_>,
        length: usize,
        column: &mut Dictionary,
    ) -> (u32, Option<Category>) {
        let extension = name.last(length);
        let place = self.spelled.intern(extension) as usize;
        if place == self.known.len() {
            self.known.push(learn(extension, column));
        }
        self.recent.put(name, length, self.known[place]);
        self.known[place]
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

    /// The category of a file name with an extension; `None` if more than two extensions have to be
    /// looked at.
    #[inline]
    fn of(&mut self, name: &Name<'_>) -> Option<Category> {
        let stem = name.stem();
        // Names such as `.env.gz` and `a..gz` are as rare as they are odd.
        let is_odd = stem.after_dot == 0 || stem.after_dot + 1 == stem.length;
        if is_odd || derived::may_have_rule(stem.bytes()) {
            return None;
        }
        let mut length = name.after_dot;
        if stem.after_dot < stem.length {
            length += 1 + stem.after_dot;
        }
        if length > 2 * MAX_EXTENSION_BYTES {
            return None;
        }
        match self.recent.get(name, length) {
            Some(category) => category,
            None => self.find(name, length),
        }
    }

    /// The same for extensions of this length that are new, not recent, or too long to be so.
    #[cold]
    fn find(&mut self, name: &Name<'_>, length: usize) -> Option<Category> {
        let extensions = name.last(length);
        let place = self.spelled.intern(extensions) as usize;
        if place == self.categories.len() {
            self.categories.push(learn_wrapped(extensions));
        }
        self.recent.put(name, length, self.categories[place]);
        self.categories[place]
    }
}

/// What was last known of short texts: the most frequent ones are found without hashing and comparing
/// them byte by byte.
#[derive(Debug)]
struct Recent<T>(Box<[(u64, T); 256]>);

impl<T: Copy + Default> Default for Recent<T> {
    fn default() -> Self {
        // No text has no length.
        Self(Box::new([(0, T::default()); 256]))
    }
}

impl<T: Copy> Recent<T> {
    /// What is known of so many bytes at the end of a name, which are more than none.
    #[inline]
    fn get(&self, name: &Name<'_>, length: usize) -> Option<T> {
        let (text, slot) = Self::place(name, length)?;
        let (known, value) = self.0[slot];
        (known == text).then_some(value)
    }

    fn put(&mut self, name: &Name<'_>, length: usize, value: T) {
        if let Some((text, slot)) = Self::place(name, length) {
            self.0[slot] = (text, value);
        }
    }

    /// The text as a number, and where it is kept.
    #[inline]
    fn place(name: &Name<'_>, length: usize) -> Option<(u64, usize)> {
        let text = name.short(length)?;
        // The highest bits of the product depend on all of the text.
        let [slot, ..] = text.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        Some((text, usize::from(slot)))
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
