//! The order of inverted lists in the file: lists with near centroids are placed near each other, so that a search
//! reads few runs. Called by `lists::build`.
//!
//! The centroids are halved across their main axis again and again; where two halves meet, each may be turned
//! around, so that the ends that meet are near. O(lists × dim × log lists).

use super::means::Centroids;

/// Rounds of the power iteration. The axis need not be exact, only the same everywhere.
const ROUNDS: usize = 12;

/// Positions of the centroids along a path from near to near.
pub(super) fn path(centroids: &Centroids) -> Vec<usize> {
    halve(centroids, (0..centroids.count()).collect())
}

fn halve(centroids: &Centroids, mut part: Vec<usize>) -> Vec<usize> {
    if part.len() <= 2 {
        return part;
    }
    let axis = main_axis(centroids, &part);
    let place = |index: usize| -> f64 {
        axis.iter().zip(centroids.get(index)).map(|(a, &x)| a * f64::from(x)).sum()
    };
    let mut placed: Vec<(f64, usize)> = part.iter().map(|&index| (place(index), index)).collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    part.clear();
    part.extend(placed.into_iter().map(|(_, index)| index));
    let back = part.split_off(part.len() / 2);
    join(centroids, halve(centroids, part), halve(centroids, back))
}

/// One path of two, either of them turned around where that brings the meeting ends nearer.
fn join(centroids: &Centroids, mut front: Vec<usize>, mut back: Vec<usize>) -> Vec<usize> {
    let ends = |path: &[usize]| [path[path.len() - 1], path[0]];
    let mut best = (f64::INFINITY, false, false);
    for (turn_front, &left) in [false, true].into_iter().zip(&ends(&front)) {
        for (turn_back, &right) in [true, false].into_iter().zip(&ends(&back)) {
            let apart = squared_distance(centroids.get(left), centroids.get(right));
            if apart < best.0 {
                best = (apart, turn_front, turn_back);
            }
        }
    }
    if best.1 {
        front.reverse();
    }
    if best.2 {
        back.reverse();
    }
    front.append(&mut back);
    front
}

pub(super) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// The direction in which the centroids of `part` spread most, about.
fn main_axis(centroids: &Centroids, part: &[usize]) -> Vec<f64> {
    let mut mean = vec![0.0f64; centroids.stride];
    for &index in part {
        mean.iter_mut().zip(centroids.get(index)).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    mean.iter_mut().for_each(|sum| *sum /= part.len() as f64);
    let centred = |index: usize| {
        let values = centroids.get(index).iter().zip(&mean);
        values.map(|(x, mean)| f64::from(*x) - mean).collect::<Vec<f64>>()
    };
    let centred: Vec<Vec<f64>> = part.iter().map(|&index| centred(index)).collect();
    let mut axis = centred[0].clone();
    for _ in 0..ROUNDS {
        let mut next = vec![0.0; axis.len()];
        for point in &centred {
            let along: f64 = point.iter().zip(&axis).map(|(x, a)| x * a).sum();
            next.iter_mut().zip(point).for_each(|(sum, x)| *sum += along * x);
        }
        let length = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        // Centroids that are all the same, or a start at right angles to the rest: any axis will do.
        if length == 0.0 || !length.is_finite() {
            break;
        }
        axis = next.into_iter().map(|x| x / length).collect();
    }
    axis
}
