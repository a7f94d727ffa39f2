//! The floors, lowest first: the table of docs/architecture.md in a form that can be checked.
//!
//! A line is a step: its modules may import from the lines above and not from each other. Lines of
//! the same floor are steps within it.

/// The floors of one crate.
#[derive(Debug)]
pub(super) struct CrateFloors {
    /// Directory of its sources.
    pub(super) src: &'static str,
    steps: &'static [(&'static str, &'static [&'static str])],
}

impl CrateFloors {
    /// The step `module` stands on, 0 the lowest.
    pub(super) fn height(&self, module: &str) -> Option<usize> {
        self.steps.iter().position(|(_, modules)| modules.contains(&module))
    }

    /// The floor's name.
    pub(super) fn name(&self, height: usize) -> &'static str {
        self.steps[height].0
    }
}

pub(super) const CRATES: [CrateFloors; 4] = [
    CrateFloors {
        src: "core/segment/src",
        steps: &[
            ("F0", &["error"]),
            ("F0", &["names", "reader"]),
            ("F0", &["cancel", "ids", "metric", "parallel"]),
            ("F0", &["kinds", "rng"]),
            ("F0", &["schema"]),
            ("F1", &["kernel", "storage"]),
            ("F1", &["format"]),
            ("F2", &["rowset"]),
            ("F2", &["payload", "allowed"]),
            ("F3", &["filter", "vector"]),
            ("F4", &["stats"]),
            ("F4", &["segment"]),
            ("F5", &["search"]),
        ],
    },
    CrateFloors {
        src: "core/engine/src",
        steps: &[
            ("F6", &["clock", "options", "log", "manifest"]),
            ("F7", &["files"]),
            ("F7", &["read"]),
            ("F8", &["write"]),
            ("F8", &["export"]),
            ("F9", &["database"]),
        ],
    },
    CrateFloors {
        src: "native-server/src",
        steps: &[
            ("F10", &["host", "json", "sample", "demo_files"]),
            ("F10", &["config", "catalog", "metrics", "rows", "pacing"]),
            ("F11", &["workers"]),
            ("F11", &["http"]),
            ("F11", &["api"]),
            ("F11", &["client"]),
            ("F11", &["cli"]),
        ],
    },
    CrateFloors {
        src: "wasm/src",
        steps: &[
            ("F10", &["object"]),
            ("F10", &["error"]),
            ("F10", &["ids"]),
            ("F10", &["answers"]),
            ("F10", &["options"]),
            ("F10", &["reading"]),
            ("F11", &["slots"]),
            ("F11", &["file", "store"]),
            ("F11", &["ranges"]),
        ],
    },
];
