//! The words that some fields of requests and answers take, for the OpenAPI document.

#![expect(dead_code, reason = "these types are shapes; no value of them is ever made")]

use utoipa::ToSchema;

/// Which files are searched: all; memory and young files; the others
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum SearchTier {
    All,
    Active,
    Archive,
}

/// How vectors are compared
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum MetricName {
    Cosine,
    Dot,
    L2,
}

/// How the elements of vectors are kept: four bytes each, or two
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum StoreName {
    F32,
    F16,
}

/// Whether a larger score is closer, or a smaller one
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum ScoreKindName {
    Similarity,
    Distance,
}

/// What a job does
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum JobKindName {
    Checkpoint,
    Compaction,
    Snapshot,
    Verify,
    Restore,
}

/// How far a job is; idle: there was nothing to do
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum JobStateName {
    Running,
    Completed,
    Idle,
    Failed,
    Cancelled,
    Interrupted,
}

/// Whether everything can be served
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum HealthStatus {
    Ok,
    Degraded,
}
