//! The macro `request!`: defines one struct for each JSON request, which is read from the body and described in the
//! OpenAPI document. Used by the handlers of `api::v2`; `FromJson` reads a member.
//!
//! [`request!`] makes both from one list of members, so a member that is described is read, and one that is read is
//! described. Members are optional, and `null` is the same as leaving one out. A member that a request needs says so
//! to OpenAPI by its `value_type`, and its handler refuses the request without it.

use nearfield_segment::filter::{Filter, reading_bytes_max};
use nearfield_segment::{Encoding, Metric};

use super::cursor::Cursor;
use super::error::Result;

/// A value in a body, read where it stands. `S` is what the values of one request share while they are read: `()`
/// where each value stands for itself.
pub(crate) trait FromJson<S = ()>: Sized {
    /// Reads one value; the cursor is before it, and behind it afterwards.
    ///
    /// # Errors
    /// `bad_request` naming the byte, or what the value itself refuses.
    fn read(cursor: &mut Cursor<'_>, shared: &mut S) -> Result<Self>;
}

/// Defines the struct of a request, or of an object within one, and reads it. `in S` names what its values share.
macro_rules! request {
    (
        $(#[$about:meta])*
        $visibility:vis struct $name:ident { $($members:tt)* }
    ) => {
        request! { $(#[$about])* $visibility struct $name in () { $($members)* } }
    };
    (
        $(#[$about:meta])*
        $visibility:vis struct $name:ident in $shared:ty {
            $($(#[$note:meta])* $member:ident: $kind:ident,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Default, utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        $visibility struct $name {
            $($(#[$note])* pub(super) $member: Option<$kind>,)*
        }

        impl $crate::http::FromJson<$shared> for $name {
            fn read(
                cursor: &mut $crate::http::Cursor<'_>,
                shared: &mut $shared,
            ) -> $crate::http::Result<Self> {
                let mut request = $name::default();
                cursor.object(&[$(stringify!($member)),*], |member, cursor| {
                    match member {
                        $(stringify!($member) => {
                            let value = $crate::http::FromJson::<$shared>::read(cursor, shared)?;
                            request.$member = Some(value);
                        })*
                        other => unreachable!("{other}: the cursor passes listed members only"),
                    }
                    Ok(())
                })?;
                Ok(request)
            }
        }
    };
}

pub(crate) use request;

/// Kinds of values that serde reads.
macro_rules! plain_values {
    ($($kind:ty, $expected:literal;)*) => {
        $(impl<S> FromJson<S> for $kind {
            fn read(cursor: &mut Cursor<'_>, _: &mut S) -> Result<Self> {
                cursor.read($expected)
            }
        })*
    };
}

plain_values! {
    bool, "true or false";
    u32, "a whole number";
    usize, "a whole number";
    String, "a string";
    Metric, "\"cosine\", \"dot\" or \"l2\"";
    Encoding, "\"f32\" or \"f16\"";
}

/// The memory that reading a filter may take is reserved before.
impl<S> FromJson<S> for Filter {
    fn read(cursor: &mut Cursor<'_>, _: &mut S) -> Result<Self> {
        let text = cursor.raw()?;
        cursor.reserve(reading_bytes_max(text))?;
        Ok(Filter::from_json_text(text)?)
    }
}
