//! `Role` and `Roles`: what a key may do (`query`, `ingest`, `admin`), and sets of roles that are never empty. Checked
//! by `http::gate`; stored by `keys`.

use std::fmt;
use std::str::FromStr;

use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::shown;

/// A permission. [`Role::Admin`] implies the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Search, read, count, export.
    Query,
    /// Write and delete points.
    Ingest,
    /// Everything, also collections, jobs and statistics.
    Admin,
}

impl Role {
    /// All of them, weakest first.
    pub const ALL: [Role; 3] = [Role::Query, Role::Ingest, Role::Admin];

    /// The word on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Role::Query => "query",
            Role::Ingest => "ingest",
            Role::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Role::Query => 1,
            Role::Ingest => 2,
            Role::Admin => 4,
        }
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Role> {
        let named = Role::ALL.into_iter().find(|role| role.name() == text);
        named.ok_or_else(|| {
            let (expected, text) = (Role::ALL.map(Role::name), shown(text));
            let message = format!("role: expected one of {}, got {text:?}", expected.join(", "));
            Error::invalid(Fault::Parameter, message)
                .with("expected", expected.to_vec())
                .with("got", text.as_ref())
        })
    }
}

/// One role or several. Written as `query,ingest`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// These and `role`.
    #[must_use]
    pub fn and(self, role: Role) -> Roles {
        Roles(self.0 | role.bit())
    }

    /// Whether `role` is among them, or they are an admin's.
    pub fn allows(self, role: Role) -> bool {
        self.0 & (role.bit() | Role::Admin.bit()) != 0
    }

    /// The words, weakest first.
    pub fn names(self) -> Vec<&'static str> {
        let there = Role::ALL.into_iter().filter(|role| self.0 & role.bit() != 0);
        there.map(Role::name).collect()
    }
}

impl From<Role> for Roles {
    fn from(role: Role) -> Roles {
        Roles(role.bit())
    }
}

impl FromStr for Roles {
    type Err = Error;

    fn from_str(text: &str) -> Result<Roles> {
        let mut words = text.split(',').map(str::trim);
        let first: Role = words.next().unwrap_or_default().parse()?;
        words.try_fold(Roles::from(first), |roles, word| Ok(roles.and(word.parse()?)))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roles({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_implies_all_and_the_others_only_themselves() {
        for role in Role::ALL {
            assert!(Roles::from(Role::Admin).allows(role));
            assert_eq!(Roles::from(Role::Query).allows(role), role == Role::Query);
            assert_eq!(Roles::from(Role::Ingest).allows(role), role == Role::Ingest);
        }
    }

    #[test]
    fn a_list_reads_as_it_was_written() {
        for text in ["query", "ingest", "admin", "query,ingest", "query,ingest,admin"] {
            assert_eq!(text.parse::<Roles>().expect("known words").to_string(), text);
        }
        let spaced: Roles = "ingest, query".parse().expect("spaces are no error");
        assert_eq!(spaced.to_string(), "query,ingest");
    }

    #[test]
    fn unknown_and_missing_words_are_refused_with_those_there_are() {
        for text in ["", "root", "query,", "query,root", "Query"] {
            let error = text.parse::<Roles>().expect_err("no list of roles");
            assert!(error.message().contains("query, ingest, admin"), "{error}");
        }
    }
}
