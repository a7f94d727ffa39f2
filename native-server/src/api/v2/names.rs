//! Words of requests and answers, such as `SearchTier`, as the OpenAPI document lists them. Used by the
//! structs of the handlers of `v2`.

use nearfield_engine::{Error, Fault, Tier};
use nearfield_segment::{Encoding, FieldKind, Metric, ScoreKind, shown};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

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

/// Shapes of the names that core gives to a type's values.
macro_rules! names {
    ($($shape:ident: $type:ty, $about:literal;)*) => {$(
        #[doc = $about]
        pub(super) enum $shape {}

        impl PartialSchema for $shape {
            fn schema() -> RefOr<Schema> {
                let names = <$type>::ALL.map(|value| value.name());
                let shape = ObjectBuilder::new().schema_type(Type::String);
                shape.enum_values(Some(names)).description(Some($about)).into()
            }
        }

        impl ToSchema for $shape {}
    )*};
}

names! {
    MetricName: Metric, "How vectors are compared";
    StoreName: Encoding, "How the elements of vectors are kept: four bytes each, or two";
    FieldKindName: FieldKind, "What the values of a metadata field are";
    ScoreKindName: ScoreKind, "Whether a larger score is closer, or a smaller one";
}
