//! `Candidate`: a row with its distance in one number, which orders by distance and then by row. What searches find, in
//! `index` and in `rerank`.

use crate::ids::RowId;

/// A row with its distance, packed so that comparing keys compares (distance, row).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate(pub(super) u64);

impl Candidate {
    /// A row at a distance. −0.0 sorts before +0.0; NaN of positive sign after every number.
    #[inline]
    pub fn new(distance: f32, row: RowId) -> Self {
        Candidate(u64::from(ordered_bits(distance)) << 32 | u64::from(row.0))
    }

    /// Distance and row as one number: smaller is closer, then smaller row first.
    #[inline]
    pub fn key(self) -> u64 {
        self.0
    }

    /// The row.
    #[inline]
    pub fn row(self) -> RowId {
        RowId(self.0 as u32)
    }

    /// The distance, as scored.
    #[inline]
    pub fn distance(self) -> f32 {
        from_ordered_bits(self.distance_bits())
    }

    /// The distance as a u32 of the same order.
    #[inline]
    pub fn distance_bits(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Flips the bits of a float so that unsigned order is numeric order.
#[inline]
fn ordered_bits(value: f32) -> u32 {
    let bits = value.to_bits();
    bits ^ (((bits as i32) >> 31) as u32 | 0x8000_0000)
}

#[inline]
fn from_ordered_bits(ordered: u32) -> f32 {
    let mask = if ordered >> 31 == 1 { 0x8000_0000 } else { u32::MAX };
    f32::from_bits(ordered ^ mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_by_distance_then_row_and_give_both_back() {
        let distances =
            [f32::NEG_INFINITY, -2.5, -1e-45, -0.0, 0.0, 1e-45, 1.0, 3.4e38, f32::INFINITY];
        let mut previous = None;
        for distance in distances {
            for row in [0, 1, u32::MAX] {
                let candidate = Candidate::new(distance, RowId(row));
                assert_eq!(candidate.distance().to_bits(), distance.to_bits());
                assert_eq!(candidate.row(), RowId(row));
                assert!(previous < Some(candidate), "{distance} {row}");
                previous = Some(candidate);
            }
        }
    }
}
