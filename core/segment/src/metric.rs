//! `Metric`: what "close" means. Inside the engine smaller is closer, always; sign and range change once, in
//! `Metric::score` (distance → score), called by the server, the command line, Python and `wasm` for their answers.

use crate::names::names;

/// How two vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Cosine of the angle. Distance = −cos. A stored vector of length zero has cosine 0 to every vector; a
    /// query of length zero is refused.
    Cosine,
    /// Inner product. Distance = −⟨a, b⟩.
    Dot,
    /// Euclidean. Distance = ‖a − b‖² (squared, inside only).
    L2,
}

/// Whether larger or smaller scores are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScoreKind {
    /// Larger is closer (cosine, dot).
    Similarity,
    /// Smaller is closer (l2).
    Distance,
}

names!(Metric, "metric", Cosine = "cosine", Dot = "dot", L2 = "l2");
names!(ScoreKind, "score kind", Similarity = "similarity", Distance = "distance");

impl Metric {
    /// The user's number for an internal distance: similarity for cosine and dot, Euclidean
    /// distance (not squared) for l2.
    pub fn score(self, distance: f32) -> f32 {
        match self {
            Metric::Cosine | Metric::Dot => 0.0 - distance,
            Metric::L2 => distance.sqrt(),
        }
    }

    /// Whether the scores of this metric are similarities or distances.
    pub fn score_kind(self) -> ScoreKind {
        match self {
            Metric::Cosine | Metric::Dot => ScoreKind::Similarity,
            Metric::L2 => ScoreKind::Distance,
        }
    }
}
