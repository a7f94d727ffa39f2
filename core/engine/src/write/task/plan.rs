//! The merge policy: decides which segments are merged next, a pure function of a few numbers (`Situation` → `Work`),
//! tested as a table. Called by `Writer::plan`.
//!
//! **Flat files.** A checkpoint writes rows without a graph and draws in small flat files of its own level, so
//! that checkpoints alone leave a logarithmic number of them. **Graphs.** Once [`Options::level0_rows_max`] rows
//! lie in flat files, they are linked. Files are drawn in by ascending size, each if it is not larger than
//! a factor times the sum of all before it. A row is therefore linked again only when its file has grown by a
//! constant ratio: the number of files and the number of times a row is linked are both logarithmic in the
//! size of the collection, whatever the pattern of writes. If more files stand than the limits below allow,
//! the merge with the best ratio of new rows to old ones is done although no ratio asks for it.
//!
//! **At once.** Inputs of a running merge are busy and take no part, so merges are disjoint. Each plan leaves room for
//! fresh files beside the busy ones: [`FILES_MAX`] bounds both together as long as merges keep up with writes.
//!
//! **Memory.** A merge is planned only if it fits [`Options::one_merge_bytes_max`]. A file with graphs that takes more than
//! half of that is *oversized*: merged with another of its kind it would not fit. So is a flat file that takes more than all
//! of it, which searches scan. Oversized files stand apart, count for none of the limits on files, and are rewritten alone
//! when they are worn. Rows in memory go to a file before they are too many to be linked.
//!
//! Does not decide how many threads merge: the host does, by asking.

use crate::options::Options;

/// Files of a collection while merges run, busy inputs included.
const FILES_MAX: usize = 12;
/// Busy inputs beside which a further merge may start. The rest of [`FILES_MAX`] is for fresh files.
const BUSY_MAX: usize = 8;
/// Flat files at rest.
const FLAT_FILES_MAX: usize = 3;
/// Files with graphs at rest.
const GRAPH_FILES_MAX: usize = 5;
/// A due merge draws a file in up to this multiple of the rows drawn in before it.
const DUE_FACTOR: f64 = 0.5;
/// A checkpoint draws a flat file in up to this multiple.
const CHECKPOINT_FACTOR: f64 = 1.0;
/// How many times [`Options::level0_rows_max`] a checkpoint writes when flat files are too many.
const BEHIND_FACTOR: u64 = 8;
/// What too many files are worth while other merges run.
const FORCED_FACTOR: f64 = 1.0;
/// The multiple for work that is merely worthwhile. At rest each file then has more than ten times the
/// rows of all smaller ones, so the two largest hold at least 95 % of all rows.
const WORTHWHILE_FACTOR: f64 = 10.0;
/// A merge that holds at most this part of [`Options::merge_bytes_max`] always fits beside others.
pub(crate) const SMALL_MERGE_PART: u64 = 16;
/// Flat files that a checkpoint draws in take at most this part of [`Options::merge_bytes_max`], because no checkpoint
/// waits for memory.
const CHECKPOINT_PART: u64 = 4;

/// What the decision needs to know of a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SegmentFacts {
    /// In memory and log only.
    pub in_memory: bool,
    /// Level of a file: 0 is flat, from 1 on it has a graph if it is long enough for one.
    pub level: u8,
    /// Rows, dead ones included.
    pub rows: u32,
    /// Rows that count.
    pub live: u32,
    /// Rows that were dead at the manifest's checkpoint LSN: those that rewriting the file alone would drop.
    pub dead_at_checkpoint: u32,
    /// A derived section of it is damaged.
    pub degraded: bool,
    /// A file of an older format.
    pub outdated: bool,
    /// An input of a running task, or damaged: it cannot be an input.
    pub busy: bool,
    /// Memory that a merge that builds a graph holds for this input, in bytes; an estimate.
    pub merge_bytes: u64,
}

/// What the decision depends on.
#[derive(Debug, Clone, Default)]
pub struct Situation {
    /// Segments, oldest first.
    pub segments: Vec<SegmentFacts>,
    /// Bytes of the segments in memory.
    pub memory_bytes: u64,
    /// Bytes of the log that a checkpoint could archive, at most; 0 if the files hold everything.
    pub log_bytes: u64,
    /// Something is in the log and in no file.
    pub pending: bool,
    /// A checkpoint is under way. The next one waits for it: cuts are taken one after the other.
    pub checkpointing: bool,
    /// Memory that running merges hold, small ones aside.
    pub merging_bytes: u64,
}

/// A merge worth doing: positions in [`Situation::segments`], ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Segments that go in.
    pub inputs: Vec<usize>,
    /// Level of the segment that comes out.
    pub level: u8,
    /// The input whose graphs the others' rows are added to: a position in [`Situation::segments`]. Without one all
    /// rows are linked anew.
    pub base: Option<usize>,
}

/// How much a host asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeScope {
    /// What is due by size or wear.
    Due,
    /// Also what is merely worthwhile: fewer files for searches, at the cost of linking rows more often. For now
    /// and then, and for a collection at rest. The number of times a row is linked stays logarithmic even if
    /// a host asks for nothing else.
    Worthwhile,
    /// A file of an older format is rewritten alone. It keeps level and graph.
    Outdated,
    /// What is in memory goes to a file.
    Checkpoint,
    /// As many files as fit the memory of a merge become one, with every row linked anew; where there are no files,
    /// what is in memory. A single file with a graph, without dead rows and damage and of the newest format stays as it
    /// is, also if merges have added to its graph.
    Everything,
}

/// The most urgent work for a scope, if there is any that does not touch a busy segment.
///
/// Each piece of work removes its own reason, so that work comes to an end: a file whose dead rows lie
/// behind the checkpoint LSN would be as worn after a rewrite as before, so a checkpoint comes first.
pub fn plan(scope: MergeScope, situation: &Situation, options: &Options) -> Option<Work> {
    let desk = Desk::new(situation, options);
    match scope {
        MergeScope::Due => desk.due(),
        MergeScope::Worthwhile => desk.due().or_else(|| desk.worthwhile()),
        MergeScope::Outdated => desk.outdated(),
        MergeScope::Checkpoint => desk.checkpoint(),
        MergeScope::Everything => desk.everything(),
    }
}

/// The situation, sorted for planning.
struct Desk<'a> {
    situation: &'a Situation,
    options: &'a Options,
    /// Files that are neither busy nor oversized, by live rows.
    free: Vec<usize>,
    /// Oversized files that are not busy.
    oversized: Vec<usize>,
    /// Files that are busy.
    busy: usize,
}

impl<'a> Desk<'a> {
    fn new(situation: &'a Situation, options: &'a Options) -> Desk<'a> {
        let files = situation.segments.iter().enumerate().filter(|(_, facts)| !facts.in_memory);
        let (busy, free): (Vec<_>, Vec<_>) = files.partition(|(_, facts)| facts.busy);
        let mut free: Vec<usize> = free.into_iter().map(|(index, _)| index).collect();
        free.sort_by_key(|&index| situation.segments[index].live);
        let is_oversized = |index: &usize| {
            let facts = &situation.segments[*index];
            let most = options.one_merge_bytes_max;
            facts.merge_bytes > if facts.level > 0 { most / 2 } else { most }
        };
        let (oversized, free) = free.into_iter().partition(is_oversized);
        Desk { situation, options, free, oversized, busy: busy.len() }
    }

    fn due(&self) -> Option<Work> {
        // Rows that replace each other over and over take room in the log only.
        let long_log = self.situation.log_bytes >= 4 * self.options.log_file_bytes_max;
        let full = self.situation.memory_bytes >= self.options.memtable_bytes_max;
        // A file of more rows could not be linked.
        let in_memory = self.situation.segments.iter().filter(|facts| facts.in_memory);
        let linking_bytes: u64 = in_memory.map(|facts| facts.merge_bytes).sum();
        let many = linking_bytes > self.options.one_merge_bytes_max / 2;
        if (full || many || long_log)
            && let Some(work) = self.checkpoint()
        {
            return Some(work);
        }
        let merge = self.worn().or_else(|| self.joining()).or_else(|| self.linking());
        merge.or_else(|| self.checkpoint_before_wear())
    }

    /// What is in memory, with the flat files that belong to it.
    fn checkpoint(&self) -> Option<Work> {
        let Situation { segments, pending, checkpointing, .. } = self.situation;
        let mut inputs: Vec<usize> =
            (0..segments.len()).filter(|&index| segments[index].in_memory).collect();
        if *checkpointing || (inputs.is_empty() && !pending) {
            return None;
        }
        let rows = self.rows(&inputs);
        if rows > 0 {
            let mut flat = self.flat();
            // With too many of them, as behind a long merge, it takes longer.
            let behind = flat.len() >= self.flat_files_max();
            let most = self.options.level0_rows_max * if behind { BEHIND_FACTOR } else { 1 };
            let mut room = most.saturating_sub(rows);
            let fits = |&&index: &&usize| {
                let live = u64::from(segments[index].live);
                let fits = live <= room;
                room = room.saturating_sub(live);
                fits
            };
            let inputs_max = flat.iter().take_while(fits).count();
            let inputs_max =
                inputs_max.min(self.fitting(&flat, self.options.merge_bytes_max / CHECKPOINT_PART));
            let left_max = self.flat_files_max();
            flat.truncate(self.drawn_in(rows, &flat, CHECKPOINT_FACTOR, left_max, inputs_max));
            inputs.extend(flat);
        }
        Some(self.work(inputs, 0))
    }

    /// Dead rows that a rewrite would drop if they lay before the checkpoint LSN.
    fn checkpoint_before_wear(&self) -> Option<Work> {
        let soon_worn = |facts: &SegmentFacts| {
            !facts.in_memory && !facts.busy && self.too_dead(facts.rows - facts.live, facts)
        };
        let due = self.situation.segments.iter().any(soon_worn);
        due.then(|| self.checkpoint()).flatten()
    }

    /// The rewrite of a file with many dead rows or a damaged derived section. Smaller files go in, because
    /// its rows are linked anyway.
    fn worn(&self) -> Option<Work> {
        let segments = &self.situation.segments;
        let is_worn = |&&index: &&usize| {
            let facts = &segments[index];
            facts.degraded || self.too_dead(facts.dead_at_checkpoint, facts)
        };
        let places = (0..self.free.len()).rev().filter(|&place| is_worn(&&self.free[place]));
        let beside = places.flat_map(|place| {
            let smaller = self.inputs_max().saturating_sub(1).min(place);
            let worn = self.free[place];
            [[&self.free[..smaller], &[worn]].concat(), vec![worn]]
        });
        let alone = self.oversized.iter().filter(is_worn).map(|&index| vec![index]);
        let level = |inputs: &[usize]| {
            let levels = inputs.iter().map(|&index| segments[index].level);
            levels.max().unwrap_or_default().max(self.level_of(inputs))
        };
        self.first_that_fits(beside.chain(alone), level)
    }

    /// Rows of flat files get a graph, together with files that have one.
    fn linking(&self) -> Option<Work> {
        let (mut flat, graphs) = (self.flat(), self.graphs());
        let (room, memory) = (self.inputs_max(), self.options.one_merge_bytes_max);
        flat.truncate(room);
        let fitting = self.fitting(&flat, memory);
        // Rows that fill the memory of a merge are enough, however few they are.
        let enough = fitting < flat.len() || self.rows(&flat) >= self.options.level0_rows_max;
        flat.truncate(fitting);
        let due = enough && !flat.is_empty();
        let many = graphs.len() > self.graph_files_max();
        let alike_max = room.min(self.fitting(&graphs, memory));
        let alike = self.drawn_in(0, &graphs, DUE_FACTOR, usize::MAX, alike_max) > 1;
        if !(due || many || alike) {
            return None;
        }
        let rows = self.rows(&flat);
        let beside = self.fitting(&graphs, memory.saturating_sub(self.bytes(&flat)));
        let inputs_max = room.saturating_sub(flat.len()).min(beside);
        let left_max = self.graph_files_max();
        let count = self.drawn_in(rows, &graphs, DUE_FACTOR, left_max, inputs_max);
        if self.busy > 0 && graphs.len() + 1 - count > self.graph_files_max() {
            return None;
        }
        let fresh = flat.clone();
        flat.extend(&graphs[..count]);
        let links = |inputs: &[usize]| due && inputs.len() == 1 && self.level_of(inputs) > 0;
        let changes = |inputs: &Vec<usize>| inputs.len() > 1 || links(inputs);
        let candidates = [flat, fresh].into_iter().filter(changes);
        self.first_that_fits(candidates, |inputs| self.level_of(inputs))
    }

    /// Too many flat files that are not linked yet, or not now, become fewer.
    fn joining(&self) -> Option<Work> {
        let mut flat = self.flat();
        if flat.len() <= self.flat_files_max() {
            return None;
        }
        let (factor, left_max) = (CHECKPOINT_FACTOR, self.flat_files_max());
        let inputs_max = self.fitting(&flat, self.options.one_merge_bytes_max);
        flat.truncate(self.drawn_in(0, &flat, factor, left_max, inputs_max));
        (flat.len() > 1).then(|| self.work(flat, 0))
    }

    fn worthwhile(&self) -> Option<Work> {
        let fitting = self.fitting(&self.free, self.options.one_merge_bytes_max);
        let inputs_max = self.inputs_max().min(fitting);
        let count = self.drawn_in(0, &self.free, WORTHWHILE_FACTOR, usize::MAX, inputs_max);
        let together = (count > 1).then(|| self.free[..count].to_vec());
        let long = |&index: &usize| self.level_of(&[index]) > 0;
        let flat = self.flat().into_iter().rfind(|index| long(index) && self.inputs_max() > 0);
        let candidates = together.into_iter().chain(flat.map(|index| vec![index]));
        self.first_that_fits(candidates, |inputs| self.level_of(inputs))
    }

    /// The smallest file of an older format.
    fn outdated(&self) -> Option<Work> {
        let segments = &self.situation.segments;
        let files = self.free.iter().chain(&self.oversized);
        let alone = files.filter(|&&index| segments[index].outdated).map(|&index| vec![index]);
        self.first_that_fits(alone, |inputs| segments[inputs[0]].level)
    }

    /// As many files as fit the memory of a merge become one; if there are not two, one that gains by a rewrite.
    fn everything(&self) -> Option<Work> {
        if self.free.is_empty() && self.oversized.is_empty() && self.busy == 0 {
            // Without files memory need not be written twice.
            return self.checkpoint().map(|work| Work { level: 1, ..work });
        }
        let most = self.options.one_merge_bytes_max;
        let mut inputs = self.free.clone();
        inputs.truncate(self.fitting(&self.free, most));
        if inputs.len() > 1 {
            return Some(self.anew(inputs));
        }
        let gains = |index: &&usize| {
            let facts = &self.situation.segments[**index];
            let rewritten = facts.dead_at_checkpoint > 0 || facts.degraded || facts.level == 0;
            (rewritten || facts.outdated) && facts.merge_bytes <= most
        };
        let alone = self.free.iter().chain(&self.oversized).find(gains)?;
        Some(self.anew(vec![*alone]))
    }

    /// How many of `files`, by ascending size, join `rows` rows: as many as the factor allows, and then more if
    /// too many would be left, the output among them. Of those counts the one with the best ratio is taken.
    fn drawn_in(
        &self,
        rows: u64,
        files: &[usize],
        factor: f64,
        left_max: usize,
        inputs_max: usize,
    ) -> usize {
        let most = files.len().min(inputs_max);
        let mut sum = rows as f64;
        // Of the file that comes last, against all before it. The first of all has nothing to join.
        let ratios: Vec<f64> = files[..most]
            .iter()
            .map(|&index| {
                let live = f64::from(self.situation.segments[index].live);
                let ratio = if sum > 0.0 { live / sum } else { f64::INFINITY };
                sum += live;
                ratio
            })
            .collect();
        let count = ratios.iter().rposition(|&ratio| ratio <= factor).map_or(0, |at| at + 1);
        let needed = (files.len() + 1).saturating_sub(left_max);
        if count >= needed || most == 0 {
            return count;
        }
        let from = needed.min(most);
        let best = (from..=most).rev().min_by(|a, b| ratios[a - 1].total_cmp(&ratios[b - 1]));
        // Beside a running merge the fresh rows wait until there are as many as those to be merged again.
        let waits = factor == DUE_FACTOR && self.busy > 0;
        best.filter(|best| !waits || ratios[best - 1] <= FORCED_FACTOR).unwrap_or(count)
    }

    /// The first candidate that running merges leave memory for.
    fn first_that_fits(
        &self,
        candidates: impl IntoIterator<Item = Vec<usize>>,
        level: impl Fn(&[usize]) -> u8,
    ) -> Option<Work> {
        let (running, most) = (self.situation.merging_bytes, self.options.merge_bytes_max);
        let fits = |inputs: &Vec<usize>| {
            let bytes = self.bytes(inputs);
            let small = bytes <= most / SMALL_MERGE_PART;
            let beside = running == 0 || small || running.saturating_add(bytes) <= most;
            beside && bytes <= self.options.one_merge_bytes_max
        };
        let inputs =
            candidates.into_iter().filter(|inputs| inputs.len() <= self.inputs_max()).find(fits)?;
        let level = level(&inputs);
        Some(self.work(inputs, level))
    }

    fn work(&self, mut inputs: Vec<usize>, level: u8) -> Work {
        inputs.sort_unstable();
        let base = inputs.iter().copied().filter(|&index| level > 0 && self.can_be_base(index));
        let base = base.max_by_key(|&index| self.situation.segments[index].live);
        Work { inputs, level, base }
    }

    /// A merge that links every row anew.
    fn anew(&self, inputs: Vec<usize>) -> Work {
        Work { base: None, ..self.work(inputs, 1) }
    }

    /// True if a file has a graph that is as good as a new one. Gaps of dead rows wear it out.
    fn can_be_base(&self, index: usize) -> bool {
        let facts = &self.situation.segments[index];
        facts.level > 0 && !facts.degraded && !self.too_dead(facts.rows - facts.live, facts)
    }

    fn flat(&self) -> Vec<usize> {
        self.free.iter().copied().filter(|&i| self.situation.segments[i].level == 0).collect()
    }

    fn graphs(&self) -> Vec<usize> {
        self.free.iter().copied().filter(|&i| self.situation.segments[i].level > 0).collect()
    }

    fn rows(&self, inputs: &[usize]) -> u64 {
        inputs.iter().map(|&index| u64::from(self.situation.segments[index].live)).sum()
    }

    /// Memory that a merge of these files holds, in bytes.
    fn bytes(&self, inputs: &[usize]) -> u64 {
        let each = inputs.iter().map(|&index| self.situation.segments[index].merge_bytes);
        each.fold(0, u64::saturating_add)
    }

    /// How many of `files`, from the first on, one merge may take within `memory_bytes`.
    fn fitting(&self, files: &[usize], memory_bytes: u64) -> usize {
        let mut left = memory_bytes;
        let fits = |&&index: &&usize| {
            let rest = left.checked_sub(self.situation.segments[index].merge_bytes);
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        files.iter().take_while(fits).count()
    }

    /// Rows too few for a graph stay flat.
    fn level_of(&self, inputs: &[usize]) -> u8 {
        u8::from(self.rows(inputs) >= u64::from(self.options.segment.graph_rows_min))
    }

    /// Inputs that a merge may have beside those that run.
    fn inputs_max(&self) -> usize {
        if self.busy == 0 { usize::MAX } else { BUSY_MAX.saturating_sub(self.busy) }
    }

    fn flat_files_max(&self) -> usize {
        let others = self.busy + self.graphs().len();
        FILES_MAX.saturating_sub(2 + others).clamp(1, FLAT_FILES_MAX)
    }

    fn graph_files_max(&self) -> usize {
        FILES_MAX.saturating_sub(1 + FLAT_FILES_MAX + self.busy).clamp(1, GRAPH_FILES_MAX)
    }

    fn too_dead(&self, dead: u32, facts: &SegmentFacts) -> bool {
        dead > 0 && dead as f32 >= self.options.dead_share_max * facts.rows as f32
    }
}

#[cfg(test)]
mod tests;
