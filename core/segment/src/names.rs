//! The macro `names`: the names of an enum's variants, each spelled once, for messages, the command line,
//! JSON and files. Used by `Metric`, `ScoreKind`, `Encoding`, `FieldKind` and `InstructionSet`.

use crate::error::{Error, Fault, Result};

/// Gives an enum `ALL`, `name`, `Display`, `FromStr`, and its name as JSON. `$what` is what errors call it.
macro_rules! names {
    ($type:ident, $what:literal, $($variant:ident = $name:literal),+) => {
        impl $type {
            /// All of them, in the order of their names in messages.
            pub const ALL: [$type; [$($name),+].len()] = [$($type::$variant),+];

            /// The lower-case name.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        /// By the lower-case name; `InvalidInput(Parameter)` for any other.
        impl std::str::FromStr for $type {
            type Err = $crate::error::Error;

            fn from_str(name: &str) -> $crate::error::Result<Self> {
                let place = $crate::names::find($what, &[$($name),+], name)?;
                Ok($type::ALL[place])
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                name.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use names;

/// Which of the names `name` is.
///
/// # Errors
/// `InvalidInput(Parameter)` that lists the names there are.
pub(crate) fn find(what: &str, known: &[&str], name: &str) -> Result<usize> {
    known.iter().position(|there| *there == name).ok_or_else(|| {
        let (expected, got) = (known.join(", "), crate::error::shown(name));
        Error::invalid(Fault::Parameter, format!("{what}: expected one of {expected}, got {got:?}"))
            .with("expected", known.to_vec())
            .with("got", got.as_ref())
    })
}

#[cfg(test)]
mod tests {
    use crate::error::{ErrorKind, Fault};
    use crate::metric::{Metric, ScoreKind};
    use crate::schema::Encoding;

    #[test]
    fn names_are_read_as_they_are_written_and_as_files_have_them() {
        for metric in Metric::ALL {
            assert_eq!(metric.to_string().parse::<Metric>().expect("a name"), metric);
            assert_eq!(serde_json::to_value(metric).expect("plain data"), metric.name());
        }
        for encoding in Encoding::ALL {
            assert_eq!(encoding.to_string().parse::<Encoding>().expect("a name"), encoding);
            assert_eq!(serde_json::to_value(encoding).expect("plain data"), encoding.name());
        }
        assert_eq!("distance".parse::<ScoreKind>().expect("a name"), ScoreKind::Distance);
        let error = "f8".parse::<Encoding>().expect_err("no encoding");
        assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Parameter));
        assert_eq!(error.message(), "store: expected one of f32, f16, got \"f8\"");
    }
}
