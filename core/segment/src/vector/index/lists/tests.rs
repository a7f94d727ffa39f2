//! Lists against the rows they were made of: every row once, distances near the exact ones, the same bytes for
//! any number of threads, and no bytes that make a reader panic. What is chosen, against trying every choice.

use proptest::prelude::*;

use super::*;
use crate::cancel::never_cancelled;
use crate::error::ErrorKind;
use crate::format::{SectionKind, check_bytes};
use crate::ids::{PointId, RowId};
use crate::kernel::{InstructionSet, Kernel};
use crate::metric::Metric;
use crate::parallel::Pool;
use crate::rng::Rng;
use crate::schema::{Encoding, VectorSpec};
use crate::storage::{AlignedBuffer, Bytes};
use crate::vector::codec::{Codec, EncodedRows};
use crate::vector::codes::{ListCodec, ListQuery};
use crate::vector::originals::{OriginalCodec, RowScorer, VectorRows};
use crate::vector::scorer::Scorer;

struct Field {
    spec: VectorSpec,
    encoded: EncodedRows<OriginalCodec>,
    count: u32,
}

fn distance(list: &InvertedList, query: &ListQuery, position: usize) -> f32 {
    list.distances(Kernel::detect(), query, &[RowId(position as u32)]).next().unwrap()
}

impl Field {
    /// Rows in clumps around a few points, so that there is something to cluster.
    fn clumped(count: u32, dim: usize, metric: Metric, seed: u64) -> Field {
        let mut rng = Rng::new(seed);
        let clumps: Vec<f32> = (0..17 * dim).map(|_| rng.unit_f32() * 4.0 - 2.0).collect();
        let mut values = Vec::new();
        for _ in 0..count {
            let clump = rng.below(17) as usize * dim;
            values.extend((0..dim).map(|i| clumps[clump + i] + rng.unit_f32() - 0.5));
        }
        Field::of(&values, dim, metric)
    }

    fn of(values: &[f32], dim: usize, metric: Metric) -> Field {
        let spec = VectorSpec { dim: dim as u32, metric, store: Encoding::F32 };
        let count = (values.len() / dim) as u32;
        let mut encoded = EncodedRows::with_capacity(OriginalCodec::new(&spec), count as usize);
        values.chunks_exact(dim).for_each(|row| encoded.push(row).unwrap());
        Field { spec, encoded, count }
    }

    fn rows(&self) -> VectorRows<'_> {
        self.encoded.rows()
    }

    fn query(&self, values: &[f32]) -> ListQuery {
        ListCodec::new(&self.spec).query(values)
    }

    fn all(&self) -> Vec<RowId> {
        (0..self.count).map(RowId).collect()
    }

    fn build(&self, live: &[RowId], kernel: Kernel, pool: &Pool) -> ListSections {
        build(&self.rows(), live, &id_of, kernel, pool, &never_cancelled).unwrap().unwrap()
    }

    fn table(&self, sections: &ListSections) -> crate::Result<ListTable> {
        let len = sections.lists.len() as u64;
        ListTable::open("test", &bytes(&sections.table), &self.spec, self.count, len)
    }

    /// Opens every list.
    fn lists(&self, sections: &ListSections) -> crate::Result<Vec<InvertedList>> {
        let all = bytes(&sections.lists);
        let table = self.table(sections)?;
        let open = |place: &ListPlace| {
            let bytes = all.slice(place.range.start as usize..place.range.end as usize);
            check_bytes("test", SectionKind::Cells, &bytes, 0, place.crc)?;
            InvertedList::open("test", &bytes, place, &self.spec, self.count)
        };
        table.places().iter().map(open).collect()
    }
}

fn bytes(bytes: &[u8]) -> Bytes {
    AlignedBuffer::copy_of(bytes).into()
}

/// All three kinds of ids.
fn id_of(row: RowId) -> PointId {
    match row.0 % 3 {
        0 => PointId::U64(u64::from(row.0) << 40),
        1 => PointId::Uuid(u128::from(row.0) << 100),
        _ => PointId::Str(format!("naïve-{}", row.0).into()),
    }
}

#[test]
fn every_live_row_is_in_one_list_under_its_id_and_no_list_is_much_larger_than_the_mean() {
    for metric in Metric::ALL {
        let field = Field::clumped(3000, 19, metric, 3);
        let live: Vec<RowId> = field.all().into_iter().filter(|row| row.0 % 7 != 0).collect();
        let lists = field.lists(&field.build(&live, Kernel::detect(), &Pool::SERIAL)).unwrap();
        let mut found = Vec::new();
        for list in &lists {
            assert!(list.rows().len() <= 4 * live.len() / lists.len() + 8, "{}", list.rows().len());
            for (index, &row) in list.rows().iter().enumerate() {
                assert_eq!(list.id(index), id_of(row));
                found.push(row);
            }
        }
        found.sort_unstable();
        assert_eq!((found, lists.len() > 20), (live, true), "{metric:?}");
    }
}

#[test]
fn the_bytes_are_the_same_for_any_threads_and_instructions() {
    let field = Field::clumped(4000, 33, Metric::Cosine, 5);
    let expected = field.build(&field.all(), Kernel::detect(), &Pool::SERIAL);
    for threads in [2, 5] {
        let found = field.build(&field.all(), Kernel::detect(), &Pool::new(threads));
        assert!(found == expected, "{threads} threads");
    }
    for kernel in InstructionSet::ALL.into_iter().filter_map(Kernel::forced) {
        let found = field.build(&field.all(), kernel, &Pool::SERIAL);
        assert!(found == expected, "{:?}", kernel.set());
    }
}

#[test]
fn equal_rows_zeros_and_single_rows_have_lists_too() {
    for metric in Metric::ALL {
        for count in [1, 2, 63, 64, 5000] {
            for value in [0.0, 1e-30, 3.0, 1e18] {
                let field = Field::of(&vec![value; count * 3], 3, metric);
                let sections = field.build(&field.all(), Kernel::detect(), &Pool::SERIAL);
                let lists = field.lists(&sections).unwrap();
                let rows: usize = lists.iter().map(|list| list.rows().len()).sum();
                assert_eq!(rows, count, "{metric:?} {value}");
                let distance = distance(&lists[0], &field.query(&[1.0; 3]), 0);
                assert!(distance.is_finite(), "{metric:?} {value}: {distance}");
            }
        }
    }
    let field = Field::of(&[], 3, Metric::L2);
    let built =
        build(&field.rows(), &[], &id_of, Kernel::detect(), &Pool::SERIAL, &never_cancelled);
    assert_eq!(built.unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// An element of a row is off by half a step at most, one of the query by next to nothing: the product is off by half
    /// a step times the sum of the query's magnitudes at most.
    #[test]
    fn distances_of_codes_are_near_the_exact_ones(
        dim in 1usize..70,
        seed in 0u64..1000,
        metric in prop::sample::select(&Metric::ALL[..]),
        magnitude in prop::sample::select(&[1e-3f32, 1.0, 1e6][..]),
    ) {
        let mut rng = Rng::new(seed);
        let mut values = |count| -> Vec<f32> {
            (0..count).map(|_| (rng.unit_f32() - 0.5) * magnitude).collect()
        };
        let field = Field::of(&values(40 * dim), dim, metric);
        let query = values(dim);
        let coded = field.query(&query);
        let rows = field.rows();
        let scorer = RowScorer::new(rows, Kernel::detect(), &query);
        for list in field.lists(&field.build(&field.all(), Kernel::detect(), &Pool::SERIAL)).unwrap() {
            let mut exact = vec![0.0; list.rows().len()];
            scorer.score_many(list.rows(), &mut exact);
            for (index, exact) in exact.into_iter().enumerate() {
                let mut row = vec![0.0; dim];
                rows.decode(list.rows()[index], &mut row);
                let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
                let largest = |v: &[f32]| v.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                let sum = |v: &[f32]| v.iter().map(|x| x.abs()).sum::<f32>();
                let half_steps = largest(&row) / 254.0 * sum(&query)
                    + largest(&query) / 60_000.0 * (sum(&row) + largest(&row) * dim as f32);
                let bound = match metric {
                    Metric::Cosine => half_steps / (norm(&row) * norm(&query)).max(f32::MIN_POSITIVE),
                    Metric::Dot => half_steps,
                    Metric::L2 => 2.0 * half_steps,
                };
                let found = distance(&list, &coded, index);
                let slack = bound * 1.01 + exact.abs() * 1e-4;
                prop_assert!((found - exact).abs() <= slack, "{found} {exact} {bound}");
            }
        }
    }

    /// Any damage is refused or harmless: what opens can be searched.
    #[test]
    fn hostile_tables_and_lists_never_panic(
        edits in prop::collection::vec((0usize..4096, any::<u8>()), 1..6),
        cut in 0usize..200,
        in_table in any::<bool>(),
    ) {
        let field = Field::clumped(300, 5, Metric::L2, 9);
        let mut sections = field.build(&field.all(), Kernel::detect(), &Pool::SERIAL);
        let hurt = if in_table { &mut sections.table } else { &mut sections.lists };
        for (at, value) in edits {
            let at = at % hurt.len();
            hurt[at] = value;
        }
        hurt.truncate(hurt.len() - if cut < 100 { cut } else { 0 });
        let Ok(table) = field.table(&sections) else { return Ok(()) };
        let query = field.query(&[0.5; 5]);
        prop_assert!(table.distances(Kernel::detect(), &query).len() == table.places().len());
        let all = bytes(&sections.lists);
        for place in table.places() {
            let range = place.range.start as usize..place.range.end as usize;
            prop_assert!(range.end <= all.len());
            let Ok(list) = InvertedList::open("test", &all.slice(range), place, &field.spec, 300) else {
                continue;
            };
            for index in 0..list.rows().len() {
                prop_assert!(list.rows()[index].0 < 300);
                prop_assert!(!distance(&list, &query, index).is_nan());
                drop(list.id(index));
            }
        }
    }

    #[test]
    fn no_other_choice_within_the_budget_is_worth_more(
        distances in prop::collection::vec(0u8..50, 1..12),
        breaks in any::<u16>(),
        lists in 1usize..6,
        runs in 1usize..4,
    ) {
        let spot = |(index, &distance): (usize, &u8)| {
            Spot { distance: f32::from(distance), joined: index > 0 && breaks >> index & 1 == 0 }
        };
        let spots: Vec<Spot> = distances.iter().enumerate().map(spot).collect();
        let budget = Budget { lists, runs };
        let chosen = choose(&spots, budget);
        let mask = chosen.iter().fold(0u32, |mask, position| mask | 1 << position);
        prop_assert!(fits(&spots, mask, budget) && chosen.is_sorted(), "{chosen:?}");
        let best = (0..1 << spots.len()).filter(|&mask| fits(&spots, mask, budget));
        let best = best.map(|mask| worth(&spots, mask)).fold(0.0, f64::max);
        prop_assert!((worth(&spots, mask) - best).abs() < 1e-9, "{chosen:?} of {spots:?}");
    }
}

fn fits(spots: &[Spot], mask: u32, budget: Budget) -> bool {
    let taken = |position: usize| mask >> position & 1 == 1;
    let begins = |&position: &usize| {
        taken(position) && (position == 0 || !taken(position - 1) || !spots[position].joined)
    };
    mask.count_ones() as usize <= budget.lists
        && (0..spots.len()).filter(begins).count() <= budget.runs
}

fn worth(spots: &[Spot], mask: u32) -> f64 {
    let mut ranked: Vec<usize> = (0..spots.len()).collect();
    ranked.sort_by(|&a, &b| spots[a].distance.total_cmp(&spots[b].distance).then(a.cmp(&b)));
    let taken = ranked.iter().enumerate().filter(|(_, position)| mask >> **position & 1 == 1);
    taken.map(|(rank, _)| 1.0 / (1.0 + rank as f64)).sum()
}

#[test]
fn many_lists_are_chosen_in_bounded_work_and_within_the_budget() {
    let mut rng = Rng::new(4);
    let spots: Vec<Spot> =
        (0..20_000).map(|_| Spot { distance: rng.unit_f32(), joined: true }).collect();
    for budget in [Budget { lists: 5000, runs: 9 }, Budget { lists: 24, runs: 8 }] {
        let chosen = choose(&spots, budget);
        let runs = chosen.chunk_by(|a, b| a + 1 == *b).count();
        assert!(runs <= budget.runs && chosen.len() <= budget.lists, "{runs} {}", chosen.len());
        assert!(chosen.len() * 2 > budget.lists, "{}", chosen.len());
    }
    assert_eq!(choose(&spots, Budget { lists: 20_000, runs: 20_000 }).len(), 20_000);
    assert!(choose(&[], Budget { lists: 3, runs: 1 }).is_empty());
}

#[test]
fn bytes_of_another_list_are_corrupt() {
    let field = Field::clumped(600, 8, Metric::Dot, 2);
    let mut sections = field.build(&field.all(), Kernel::detect(), &Pool::SERIAL);
    let at = sections.lists.len() / 2;
    sections.lists[at] ^= 1;
    let error = field.lists(&sections).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("checksum"), "{}", error.message());
}
