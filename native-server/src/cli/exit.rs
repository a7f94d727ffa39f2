//! Exit codes: one table from the core's error kinds to the exit code of a command (`Exit`). Used by `cli::run` and by
//! `info` and `verify`.

use std::io;

use nearfield_segment::{Error, ErrorKind};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Ok,
    /// It found something that wants attention, or the system failed.
    Findings,
    /// The call is wrong.
    Usage,
    /// What was named does not exist.
    NotFound,
    /// Another process holds the directory.
    Locked,
    /// Bytes are not what was written, or cannot be read by this version.
    Damaged,
}

impl Exit {
    /// The code the process ends with; scripts depend on it.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Findings => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Locked => 4,
            Exit::Damaged => 5,
        }
    }

    /// What an error of the core ends with.
    pub fn of(kind: ErrorKind) -> Exit {
        match kind {
            ErrorKind::InvalidInput(_) | ErrorKind::Conflict | ErrorKind::ReadOnly => Exit::Usage,
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Locked => Exit::Locked,
            ErrorKind::Corrupt | ErrorKind::Version => Exit::Damaged,
            ErrorKind::StorageFull
            | ErrorKind::Io
            | ErrorKind::NotResident
            | ErrorKind::Cancelled => Exit::Findings,
        }
    }
}

/// Why a command could not go on.
#[derive(Debug)]
pub enum Failure {
    /// The core refused.
    Core(Error),
    /// Standard output could not be written.
    Output(io::Error),
}

impl Failure {
    /// How the process ends. A reader that closes the pipe (`| head`) is no failure.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Core(error) => Exit::of(error.kind()),
            Failure::Output(_) if self.message().is_none() => Exit::Ok,
            Failure::Output(_) => Exit::Findings,
        }
    }

    /// The sentence for the person, if there is anything to say.
    pub fn message(&self) -> Option<String> {
        match self {
            Failure::Core(error) => Some(error.message().to_owned()),
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Failure::Output(error) => Some(format!("write standard output: {error}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Core(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

/// Result of a command or a part of one.
pub type Result<T = ()> = std::result::Result<T, Failure>;

#[cfg(test)]
mod tests {
    use nearfield_segment::Fault;

    use super::*;

    #[test]
    fn kinds_end_with_the_codes_that_are_documented() {
        let table = [
            (ErrorKind::InvalidInput(Fault::Filter), 2),
            (ErrorKind::NotFound, 3),
            (ErrorKind::Locked, 4),
            (ErrorKind::Corrupt, 5),
            (ErrorKind::Version, 5),
            (ErrorKind::Io, 1),
        ];
        for (kind, code) in table {
            let failure = Failure::from(Error::new(kind, "message"));
            assert_eq!(failure.exit().code(), code, "{kind:?}");
            assert_eq!(failure.message().as_deref(), Some("message"));
        }
    }

    #[test]
    fn a_closed_pipe_ends_in_silence_and_a_full_disk_does_not() {
        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((closed.exit(), closed.message()), (Exit::Ok, None));
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.exit(), Exit::Findings);
        assert!(full.message().is_some());
    }
}
