//! Words of requests and answers, as the OpenAPI document lists them.

use nearfield_engine::{Error, Fault, Tier};
use nearfield_segment::{Encoding, Metric, ScoreKind, shown};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{Cursor, FromJson, Result};

/// Which files are searched: all; memory and young files; the others
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum SearchTier {
    All,
    Active,
    Archive,
}

impl<S> FromJson<S> for SearchTier {
    fn read(cursor: &mut Cursor<'_>, _: &mut S) -> Result<Self> {
        let expected = "\"all\", \"active\" or \"archive\"";
        match cursor.read::<String>(expected)?.as_str() {
            "all" => Ok(SearchTier::All),
            "active" => Ok(SearchTier::Active),
            "archive" => Ok(SearchTier::Archive),
            other => {
                let error =
                    Error::invalid(Fault::Parameter, format!("search_tier: expected {expected}"));
                Err(error.with("expected", expected).with("got", shown(other).as_ref()).into())
            }
        }
    }
}

impl From<SearchTier> for Tier {
    fn from(tier: SearchTier) -> Tier {
        match tier {
            SearchTier::All => Tier::All,
            SearchTier::Active => Tier::Active,
            SearchTier::Archive => Tier::Archive,
        }
    }
}

/// How vectors are compared
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum MetricName {
    #[default]
    Cosine,
    Dot,
    L2,
}

impl From<Metric> for MetricName {
    fn from(metric: Metric) -> MetricName {
        match metric {
            Metric::Cosine => MetricName::Cosine,
            Metric::Dot => MetricName::Dot,
            Metric::L2 => MetricName::L2,
        }
    }
}

/// How the elements of vectors are kept: four bytes each, or two
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoreName {
    F32,
    F16,
}

impl From<Encoding> for StoreName {
    fn from(encoding: Encoding) -> StoreName {
        match encoding {
            Encoding::F32 => StoreName::F32,
            Encoding::F16 => StoreName::F16,
        }
    }
}

/// Whether a larger score is closer, or a smaller one
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ScoreKindName {
    Similarity,
    Distance,
}

impl From<ScoreKind> for ScoreKindName {
    fn from(kind: ScoreKind) -> ScoreKindName {
        match kind {
            ScoreKind::Similarity => ScoreKindName::Similarity,
            ScoreKind::Distance => ScoreKindName::Distance,
        }
    }
}
