//! Reads the memory limit of the control group this process is in, and of the groups around it. Entry:
//! `memory_bytes_max`, called by `host`.
//!
//! Version 2 and version 1 are read, as mounted in this process's namespace: `/proc/self/cgroup` names the
//! group, `/proc/self/mountinfo` where its hierarchy is mounted. A group is bound by the smallest limit on the
//! way to the root.

use std::path::{Path, PathBuf};

/// Reads a file; `None` if it cannot be read.
type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// A hierarchy that may limit memory.
struct Hierarchy {
    /// Whether a line of `/proc/self/cgroup`, by its number and controllers, belongs to it.
    is_ours: fn(&str, &str) -> bool,
    /// Whether a mount, by its type and options, is its own.
    is_mounted: fn(&str, &str) -> bool,
    /// The file with the limit.
    file: &'static str,
}

const HIERARCHIES: [Hierarchy; 2] = [
    Hierarchy {
        is_ours: |number, controllers| number == "0" && controllers.is_empty(),
        is_mounted: |kind, _| kind == "cgroup2",
        file: "memory.max",
    },
    Hierarchy {
        is_ours: |_, controllers| has_word(controllers, "memory"),
        is_mounted: |kind, options| kind == "cgroup" && has_word(options, "memory"),
        file: "memory.limit_in_bytes",
    },
];

/// The smallest limit, if there is one.
pub(super) fn memory_bytes_max(read: Read<'_>) -> Option<u64> {
    let groups = read("/proc/self/cgroup".as_ref())?;
    let mounts = read("/proc/self/mountinfo".as_ref())?;
    let limits = HIERARCHIES.iter().filter_map(|hierarchy| hierarchy.limit(&groups, &mounts, read));
    limits.min()
}

impl Hierarchy {
    fn limit(&self, groups: &str, mounts: &str, read: Read<'_>) -> Option<u64> {
        let group = groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, controllers) = (fields.next()?, fields.next()?);
            fields.next().filter(|_| (self.is_ours)(number, controllers))
        })?;
        let (root, mounted) = mounts.lines().find_map(|line| self.mount(line))?;
        let inner = Path::new(group).strip_prefix(root).unwrap_or(Path::new(""));
        let own: PathBuf = mounted.join(inner);
        let around = own.ancestors().take_while(|dir| dir.starts_with(mounted));
        around.filter_map(|dir| read(&dir.join(self.file))?.trim().parse().ok()).min()
    }

    /// The part of the hierarchy that a line of `mountinfo` mounts, and where.
    fn mount<'a>(&self, line: &'a str) -> Option<(&'a Path, &'a Path)> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut kind = kind.split(' ');
        let (kind, options) = (kind.next()?, kind.nth(1)?);
        let (root, mounted) = (place.next()?, place.next()?);
        (self.is_mounted)(kind, options).then_some((Path::new(root), Path::new(mounted)))
    }
}

fn has_word(list: &str, word: &str) -> bool {
    list.split(',').any(|there| there == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "30 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        memory_bytes_max(&read)
    }

    #[test]
    fn the_smallest_limit_of_the_groups_around_a_process_counts() {
        let unit = "0::/system.slice/nearfield.service\n";
        let files = [
            ("/proc/self/cgroup", unit),
            ("/proc/self/mountinfo", V2),
            ("/sys/fs/cgroup/system.slice/memory.max", "5000\n"),
            ("/sys/fs/cgroup/system.slice/nearfield.service/memory.max", "7000\n"),
        ];
        assert_eq!(limit(&files), Some(5_000));
        assert_eq!(limit(&files[..2]), None);
        let own = ("/sys/fs/cgroup/system.slice/nearfield.service/memory.max", "max\n");
        assert_eq!(limit(&[files[0], files[1], own]), None);
    }

    #[test]
    fn version_1_is_read_beside_version_2_and_inside_a_container() {
        let groups = "4:cpu,memory:/docker/abc\n1:cpu:/elsewhere\n0::/\n";
        let mounts = "31 30 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      32 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      33 30 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        let files = [
            ("/proc/self/cgroup", groups),
            ("/proc/self/mountinfo", mounts),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
        ];
        assert_eq!(limit(&files), Some(1 << 30));
    }

    #[test]
    fn without_control_groups_there_is_no_limit() {
        assert_eq!(limit(&[]), None);
        let other = "25 1 8:1 / / rw - ext4 /dev/sda rw\n";
        assert_eq!(
            limit(&[("/proc/self/cgroup", "0::/\n"), ("/proc/self/mountinfo", other)]),
            None
        );
    }
}
