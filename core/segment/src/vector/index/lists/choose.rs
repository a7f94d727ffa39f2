//! Chooses which inverted lists a search reads, within a `Budget` of lists and of runs (lists adjacent in the
//! file). Entry: `choose` (lists with their distances → the chosen ones), called by `search::lists`.
//!
//! A list is worth 1 / (1 + its rank by distance): about how the true neighbours are spread over lists. Of all
//! ways to pick so many lists in so many runs, the best is found exactly, by dynamic programming over the lists
//! in file order: what is best so far, with r runs and n lists, and the last list taken or not. Lists between
//! two near ones are then taken in place of farther ones that would be a request of their own.

/// A list as a candidate, in file order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    /// Distance of its centroid.
    pub distance: f32,
    /// True if it follows the spot before so closely that both are one request.
    pub joined: bool,
}

/// How much may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Lists.
    pub lists: usize,
    /// Runs of lists.
    pub runs: usize,
}

/// Most states of the search; above it, neighbours are taken or left together.
const STATES_MAX: usize = 1 << 22;

/// What led to a state.
const FROM_LEFT: u8 = 0;
const FROM_TAKEN: u8 = 1;

/// Positions of the lists to read, ascending: at most `budget.lists`, in at most `budget.runs` runs, and those with the greatest worth.
pub fn choose(spots: &[Spot], budget: Budget) -> Vec<usize> {
    if budget.lists >= spots.len() && budget.runs >= spots.len() {
        return (0..spots.len()).collect();
    }
    let runs = budget.runs.min(budget.lists).min(spots.len());
    let mut together = 1;
    while states(spots.len() / together, runs, budget.lists.min(spots.len()) / together)
        > STATES_MAX
    {
        together += 1;
    }
    let groups: Vec<Group> = groups(spots, together);
    let lists = (budget.lists / together).max(1).min(groups.len());
    let taken = best(&groups, runs, lists);
    let positions = taken.into_iter().flat_map(|group| {
        let start = group * together;
        start..(start + together).min(spots.len())
    });
    positions.take(budget.lists).collect()
}

fn states(spots: usize, runs: usize, lists: usize) -> usize {
    2 * spots.saturating_mul(runs + 1).saturating_mul(lists + 1)
}

/// Neighbours that are taken or left together.
#[derive(Debug, Clone, Copy)]
struct Group {
    worth: f64,
    joined: bool,
}

fn groups(spots: &[Spot], together: usize) -> Vec<Group> {
    let mut ranked: Vec<usize> = (0..spots.len()).collect();
    ranked.sort_by(|&a, &b| spots[a].distance.total_cmp(&spots[b].distance).then(a.cmp(&b)));
    let mut worth = vec![0.0; spots.len()];
    for (rank, position) in ranked.into_iter().enumerate() {
        worth[position] = 1.0 / (1.0 + rank as f64);
    }
    let group = |(spots, worth): (&[Spot], &[f64])| Group {
        worth: worth.iter().sum(),
        joined: spots[0].joined,
    };
    spots.chunks(together).zip(worth.chunks(together)).map(group).collect()
}

/// The groups of the best choice, ascending.
fn best(groups: &[Group], runs: usize, lists: usize) -> Vec<usize> {
    let width = lists + 1;
    let state =
        |runs: usize, lists: usize, taken: u8| 2 * (runs * width + lists) + usize::from(taken);
    let count = 2 * (runs + 1) * width;
    let mut worth = vec![f64::NEG_INFINITY; count];
    worth[state(0, 0, FROM_LEFT)] = 0.0;
    let mut came_from = vec![FROM_LEFT; count * groups.len()];
    for (group, came_from) in groups.iter().zip(came_from.chunks_mut(count)) {
        let before = worth.clone();
        for run in 0..=runs {
            for list in 0..=lists {
                let (left, taken) =
                    (before[state(run, list, FROM_LEFT)], before[state(run, list, FROM_TAKEN)]);
                worth[state(run, list, 0)] = left.max(taken);
                came_from[state(run, list, 0)] = u8::from(taken > left);
                let longer = match (list, group.joined) {
                    (1.., true) => before[state(run, list - 1, FROM_TAKEN)],
                    _ => f64::NEG_INFINITY,
                };
                let (mut begun, mut from) = (f64::NEG_INFINITY, FROM_LEFT);
                if run > 0 && list > 0 {
                    for last in [FROM_LEFT, FROM_TAKEN] {
                        if before[state(run - 1, list - 1, last)] > begun {
                            (begun, from) = (before[state(run - 1, list - 1, last)], last);
                        }
                    }
                }
                worth[state(run, list, 1)] = longer.max(begun) + group.worth;
                // Two bits: whether a run was begun, and the state of the group before.
                let step = if longer >= begun { FROM_TAKEN } else { 2 | from };
                came_from[state(run, list, 1)] = step;
            }
        }
    }
    walk_back(groups.len(), &worth, &came_from, width)
}

/// The choice that led to the greatest worth.
fn walk_back(groups: usize, worth: &[f64], came_from: &[u8], width: usize) -> Vec<usize> {
    let mut at = 0;
    for state in 0..worth.len() {
        if worth[state] > worth[at] {
            at = state;
        }
    }
    let (mut taken, mut chosen) = (at % 2, Vec::new());
    let (mut run, mut list) = (at / 2 / width, at / 2 % width);
    for group in (0..groups).rev() {
        let step = came_from[group * worth.len() + 2 * (run * width + list) + taken];
        if taken == 1 {
            chosen.push(group);
            list -= 1;
            run -= usize::from(step & 2 != 0);
        }
        taken = usize::from(step & 1);
    }
    chosen.reverse();
    chosen
}
