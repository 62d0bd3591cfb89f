//! Reads rows of an ORC file.
//!
//! A file is a sequence of stripes, a stripe a sequence of streams, and the values of a column in a
//! stripe are in a few streams of it: which rows have a value, and for texts their lengths and
//! bytes. All columns are read side by side.
//!
//! The streams are decoded here, since no library decodes into anything but arrays of its own, from
//! which everything would have to be copied again.

use std::sync::Arc;

use bytes::Bytes;

use super::files::ReadAt;
use super::rows::{BATCH_ROWS, INVENTORY_COLUMNS, RowReader, Rows, Values, check_promises};
use super::{ConsolidationError, Delivered};
use crate::snapshot_schema::{AthenaType, COLUMNS};

mod booleans;
mod column;
mod integers;
mod messages;
mod stream;
mod stripe;
mod tail;
#[cfg(test)]
mod tests;

use column::ColumnReader;
use messages::{Type, TypeKind};
use stripe::Stripe;
use tail::{Tail, broken};

/// A stripe up to this size is read at once, in the order of the file: the checksum of a file is
/// made from what is read in order. Of a larger one no more than this is held.
const STRIPE_BYTES: u64 = 64 * 1024 * 1024;

/// Reads all columns of a file that the snapshot has.
pub(super) struct OrcRows {
    source: Arc<dyn ReadAt>,
    tail: Tail,
    known: KnownColumns,
    /// Columns that the snapshot does not have.
    pub(super) left_out: Vec<String>,
    /// [`STRIPE_BYTES`], but for tests.
    stripe_bytes: u64,
    next_stripe: usize,
    open: Option<OpenStripe>,
    rows_before: u64,
}

/// The snapshot's columns that a file has, by their places.
type KnownColumns = [Option<KnownColumn>; INVENTORY_COLUMNS];

/// A column of the file that the snapshot has too.
#[derive(Clone, Copy)]
struct KnownColumn {
    /// Number among the columns of the file.
    number: u32,
    kind: TypeKind,
}

/// The stripe that is being read.
struct OpenStripe {
    /// Place among the snapshot's columns, and the values.
    columns: Vec<(usize, ColumnReader)>,
    left: u64,
}

impl OrcRows {
    /// Reads the end of the file and checks it against what the manifest promises.
    pub(super) fn open(
        delivered: Delivered<'_>,
        source: Arc<dyn ReadAt>,
    ) -> Result<Self, ConsolidationError> {
        let tail = Tail::read(&*source)?;
        let (known, left_out) = sort_out_columns(&tail.types)?;
        check_promises(delivered, |place| known[place].is_some())?;
        stripe::announce(&*source, &tail.stripes, STRIPE_BYTES);
        Ok(Self {
            source,
            tail,
            known,
            left_out,
            stripe_bytes: STRIPE_BYTES,
            next_stripe: 0,
            open: None,
            rows_before: 0,
        })
    }

    /// Goes on to the next stripe that has rows; `false` after the last one.
    fn next_stripe(&mut self) -> Result<bool, ConsolidationError> {
        self.open = None;
        let stripes = &self.tail.stripes[self.next_stripe..];
        let Some(next) = stripes.iter().position(|stripe| stripe.number_of_rows > 0) else {
            return Ok(false);
        };
        let information = &stripes[next];
        self.next_stripe += next + 1;
        let source = Arc::clone(&self.source);
        let mut stripe = Stripe::read(
            source,
            information,
            self.tail.compression,
            self.stripe_bytes,
        )?;
        let mut columns = Vec::new();
        for (place, known) in self.known.iter().enumerate() {
            if let Some(known) = known {
                columns.push((place, stripe.column(place, *known)?));
            }
        }
        self.open = Some(OpenStripe {
            columns,
            left: information.number_of_rows,
        });
        Ok(true)
    }
}

/// The columns that the snapshot knows, and the names of the others.
fn sort_out_columns(types: &[Type]) -> Result<(KnownColumns, Vec<String>), ConsolidationError> {
    let root = types
        .first()
        .filter(|root| root.kind == TypeKind::Struct as i32);
    let root = root.ok_or_else(|| broken("its rows have no columns"))?;
    if root.subtypes.len() != root.field_names.len() {
        return Err(broken("its columns do not have a name each"));
    }
    let mut known = KnownColumns::default();
    let mut left_out = Vec::new();
    for (name, number) in root.field_names.iter().zip(&root.subtypes) {
        let of_inventory = COLUMNS[..INVENTORY_COLUMNS]
            .iter()
            .position(|column| column.name == name);
        let Some(place) = of_inventory else {
            left_out.push(name.clone());
            continue;
        };
        let column = name.clone();
        if known[place].is_some() {
            return Err(ConsolidationError::DuplicateColumn { column });
        }
        let its_type = usize::try_from(*number)
            .ok()
            .and_then(|number| types.get(number));
        let its_type = its_type.ok_or_else(|| broken("a column has no type"))?;
        known[place] = match TypeKind::try_from(its_type.kind) {
            Ok(kind) if fits(kind, COLUMNS[place].athena_type) => Some(KnownColumn {
                number: *number,
                kind,
            }),
            kind => {
                let found = kind.map_or_else(
                    |_| format!("number {}", its_type.kind),
                    |kind| format!("{kind:?}").to_lowercase(),
                );
                return Err(ConsolidationError::ColumnType { column, found });
            }
        };
    }
    Ok((known, left_out))
}

/// Whether values of a type can become those of a column.
fn fits(kind: TypeKind, wanted: AthenaType) -> bool {
    match wanted {
        AthenaType::String => matches!(
            kind,
            TypeKind::String | TypeKind::Varchar | TypeKind::Char | TypeKind::Binary
        ),
        AthenaType::Boolean => kind == TypeKind::Boolean,
        AthenaType::Bigint => matches!(kind, TypeKind::Long | TypeKind::Int | TypeKind::Short),
        // AWS's own table definitions call one of the dates a number; it means milliseconds.
        AthenaType::Timestamp => matches!(
            kind,
            TypeKind::Timestamp | TypeKind::TimestampInstant | TypeKind::Long
        ),
    }
}

impl RowReader for OrcRows {
    fn next(&mut self, rows: &mut Rows) -> Result<bool, ConsolidationError> {
        if self.open.as_ref().is_none_or(|open| open.left == 0) {
            // The last batch may be in the memory of the stripe before.
            for values in &mut rows.columns {
                if let Values::Texts(texts) = values {
                    texts.buffer = Bytes::new();
                }
            }
            if !self.next_stripe()? {
                return Ok(false);
            }
        }
        let Some(stripe) = &mut self.open else {
            return Ok(false);
        };
        let mut len = BATCH_ROWS.min(usize::try_from(stripe.left).unwrap_or(BATCH_ROWS));
        for (_, column) in &mut stripe.columns {
            len = len.min(column.rows_at_once(len)?);
        }
        for (place, column) in &mut stripe.columns {
            column.read(len, &mut rows.columns[*place])?;
        }
        rows.first = self.rows_before;
        rows.len = len;
        self.rows_before += len as u64;
        stripe.left -= len as u64;
        if stripe.left == 0 {
            for (_, column) in &mut stripe.columns {
                column.finish()?;
            }
        }
        Ok(true)
    }
}
