//! Groups of equal rows in a graph (`Duplicates`): one row of a group is its *representative* and a node of the
//! graph, the others are its *duplicates*. Links between distinct rows never end at a duplicate, so thousands of equal
//! rows cannot fill a search's candidate list and block the path to other rows. Used by the build, by inserting into
//! an existing graph (`inherit`), by `connect`, and by the search.
//!
//! The adjacency list of a duplicate starts with its representative, twice; no other list has a row twice. Its other
//! slots, and the last slot that the representative uses, link the duplicates of a group as a tree, so that older
//! versions of the library, which do not know duplicates, reach them all. D is the degree, the slots of an adjacency
//! list:
//!
//! | list of | slots |
//! |---|---|
//! | representative r | up to D − 1 distinct rows, then duplicate 0 |
//! | duplicate i | r, r, then duplicates i·(D − 2) + 1 to (i + 1)·(D − 2), as far as there are so many |

use crate::ids::RowId;
use crate::rowset::RowSet;
use crate::vector::index::graph::adjacency::{Adjacency, NO_ROW};

/// Slots at the beginning of a duplicate's adjacency list that hold its representative.
const REPRESENTATIVE_SLOTS: usize = 2;

/// The duplicates of a graph by representative. Empty, and without cost, for most graphs.
#[derive(Debug, Clone, Default)]
pub(super) struct Duplicates {
    /// Ascending, each once.
    representatives: Vec<RowId>,
    /// Where the duplicates of each representative start in `rows`, and where the last ones end.
    starts: Vec<u32>,
    rows: Vec<RowId>,
    /// The rows of `rows`, as a set.
    set: Option<RowSet>,
}

impl Duplicates {
    /// From pairs of representative and duplicate, among `row_count` rows. No duplicate is in two pairs.
    pub(super) fn new(row_count: u32, mut pairs: Vec<(RowId, RowId)>) -> Self {
        if pairs.is_empty() {
            return Duplicates::default();
        }
        pairs.sort_unstable();
        let mut set = RowSet::empty(row_count);
        let (mut representatives, mut starts) = (Vec::new(), Vec::new());
        for (index, &(representative, duplicate)) in (0..).zip(&pairs) {
            set.insert(duplicate);
            if representatives.last() != Some(&representative) {
                representatives.push(representative);
                starts.push(index);
            }
        }
        starts.push(pairs.len() as u32);
        let rows = pairs.into_iter().map(|(_, duplicate)| duplicate).collect();
        Duplicates { representatives, starts, rows, set: Some(set) }
    }

    /// Reads the duplicates from the adjacency lists of a graph of version 1. O(rows).
    pub(super) fn of_lists(adjacency: Adjacency<'_>) -> Self {
        let lists = (0..).map(RowId).zip(adjacency.places.chunks_exact(adjacency.stride));
        let marked = lists.filter(|(_, list)| list[0] == list[1] && list[0] != NO_ROW);
        let pairs = marked.map(|(row, list)| (RowId(list[0]), row)).collect();
        Duplicates::new(adjacency.rows() as u32, pairs)
    }

    /// Pairs of representative and duplicate, ascending.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (RowId, RowId)> + '_ {
        let of =
            |&representative| self.of(representative).iter().map(move |&row| (representative, row));
        self.representatives.iter().flat_map(of)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All duplicates, of all representatives.
    pub(super) fn rows(&self) -> &[RowId] {
        &self.rows
    }

    /// The representatives of the `count` largest groups, largest first, then by row.
    pub(super) fn largest(&self, count: usize) -> Vec<RowId> {
        let mut largest = self.representatives.clone();
        largest.sort_by_key(|&row| std::cmp::Reverse(self.of(row).len()));
        largest.truncate(count);
        largest
    }

    /// True if `row` is a duplicate; a representative is none.
    #[inline]
    pub(super) fn contains(&self, row: RowId) -> bool {
        self.set.as_ref().is_some_and(|set| set.contains(row))
    }

    /// The duplicates of a representative; none of any other row. O(log groups).
    #[inline]
    pub(super) fn of(&self, row: RowId) -> &[RowId] {
        let Ok(group) = self.representatives.binary_search(&row) else { return &[] };
        &self.rows[self.starts[group] as usize..self.starts[group + 1] as usize]
    }

    /// Slots in the adjacency list of `row` for links to distinct rows.
    pub(super) fn free_places(&self, row: RowId, degree: usize) -> usize {
        if self.of(row).is_empty() { degree } else { degree - 1 }
    }

    /// Writes the links of duplicates, and those to them, into adjacency lists of `degree` slots.
    pub(super) fn link(&self, places: &mut [u32], degree: usize) {
        for &representative in &self.representatives {
            let group = self.of(representative);
            let list = &mut places[representative.index() * degree..][..degree];
            let used = list.iter().take_while(|&&place| place != NO_ROW).count();
            list[used] = group[0].0;
            let mut children = group[1..].chunks(degree - REPRESENTATIVE_SLOTS);
            for &duplicate in group {
                let list = &mut places[duplicate.index() * degree..][..degree];
                list[..REPRESENTATIVE_SLOTS].fill(representative.0);
                let children = children.next().unwrap_or_default();
                for (place, child) in list[REPRESENTATIVE_SLOTS..].iter_mut().zip(children) {
                    *place = child.0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEGREE: usize = 16;

    /// Groups of some sizes; each representative has a list that is full but for one place.
    fn linked(sizes: &[u32]) -> (Duplicates, Vec<u32>) {
        let distinct = sizes.iter().sum::<u32>();
        let rows = distinct + DEGREE as u32;
        let (mut pairs, mut first) = (Vec::new(), 0);
        for &size in sizes {
            pairs.extend((first + 1..first + size).map(|row| (RowId(first), RowId(row))));
            first += size;
        }
        let duplicates = Duplicates::new(rows, pairs);
        let mut places = vec![NO_ROW; rows as usize * DEGREE];
        for &RowId(row) in &duplicates.representatives {
            let list = &mut places[row as usize * DEGREE..][..DEGREE - 1];
            list.iter_mut().zip(distinct..).for_each(|(place, other)| *place = other);
        }
        duplicates.link(&mut places, DEGREE);
        (duplicates, places)
    }

    #[test]
    fn lists_say_which_rows_are_duplicates_and_link_them_all() {
        let sizes = [40, 2, 17, 3, 1, 1000, 1];
        let (duplicates, places) = linked(&sizes);
        let adjacency = Adjacency { places: &places, stride: DEGREE };
        let read = Duplicates::of_lists(adjacency);
        assert_eq!(read.representatives, [0, 40, 42, 59, 63].map(RowId));
        assert_eq!((&read.representatives, &read.starts, &read.rows), {
            let Duplicates { representatives, starts, rows, .. } = &duplicates;
            (representatives, starts, rows)
        });
        for &representative in &read.representatives {
            let mut seen = vec![representative];
            let mut next = 0;
            while let Some(&row) = seen.get(next) {
                let group = |row: &RowId| read.of(representative).contains(row);
                seen.extend(adjacency.neighbours(row).filter(group));
                next += 1;
            }
            assert_eq!(&seen[1..], read.of(representative), "each once, in order");
        }
        assert!(read.contains(RowId(1)) && !read.contains(RowId(0)) && !read.contains(RowId(62)));
        assert_eq!([RowId(62), RowId(63)].map(|row| read.free_places(row, DEGREE)), [16, 15]);
        assert!(Duplicates::of_lists(Adjacency { places: &[], stride: DEGREE }).is_empty());
    }
}
