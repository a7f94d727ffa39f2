//! `network_type`: which network file system a path is on, if any, from the text of `/proc/self/mountinfo`.
//! Called by `fs`, which refuses them: their locks, renames and syncs do not promise what durability needs,
//! and a map of a file that another machine truncates kills the process.
//!
//! Reading the file is the caller's. FUSE types are judged by their subtype; an unknown one passes.

const NETWORK_TYPES: [&str; 20] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb2",
    "smb3",
    "smbfs",
    "ncpfs",
    "afs",
    "ceph",
    "lustre",
    "beegfs",
    "gpfs",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.rclone",
    "fuse.gcsfuse",
    "fuse.goofys",
    "fuse.glusterfs",
    "fuse.ceph-fuse",
    "fuse.blobfuse",
];

/// The type of the network file system that the absolute, canonical `path` is on; `None` if it is on a
/// local one or the text does not say.
pub(super) fn network_type<'a>(mountinfo: &'a str, path: &str) -> Option<&'a str> {
    let mut found: Option<(usize, &str)> = None;
    for line in mountinfo.lines() {
        if let Some((point, kind)) = parse_line(line)
            && holds(&point, path)
            && found.is_none_or(|(len, _)| point.len() >= len)
        {
            // Of two mounts on one point the later covers the earlier.
            found = Some((point.len(), kind));
        }
    }
    found.map(|(_, kind)| kind).filter(|kind| NETWORK_TYPES.contains(kind))
}

/// `36 35 98:0 /root /mount/point options... - type source options` to mount point and type.
fn parse_line(line: &str) -> Option<(String, &str)> {
    let (before, after) = line.split_once(" - ")?;
    Some((unescape(before.split(' ').nth(4)?), after.split(' ').next()?))
}

fn holds(point: &str, path: &str) -> bool {
    let point = point.trim_end_matches('/');
    path.strip_prefix(point).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Space, tab, newline and backslash are written as `\ooo`.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        match after.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &after[3..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw - nfs4 server:/home rw
31 30 8:2 / /home/local rw - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/my\\040share rw - cifs //nas/share rw
33 22 0:42 / /mnt/auto rw - autofs systemd-1 rw
34 33 0:43 / /mnt/auto rw - fuse.sshfs host:/ rw
broken line
35 22 0:44 / /mnt/keys rw - fuse.gocryptfs /x rw";

    #[test]
    fn the_longest_and_latest_mount_decides() {
        let cases = [
            ("/var/lib/db", None),
            ("/home", Some("nfs4")),
            ("/home/ann/db", Some("nfs4")),
            ("/homework/db", None),
            ("/home/local/db", None),
            ("/mnt/my share/db", Some("cifs")),
            ("/mnt/auto/db", Some("fuse.sshfs")),
            ("/mnt/keys/db", None),
        ];
        for (path, expected) in cases {
            assert_eq!(network_type(MOUNTS, path), expected, "{path}");
        }
    }

    #[test]
    fn nonsense_says_nothing() {
        for text in ["", " - ", "1 2 3 4 \\ - nfs", "1 2 3 4 \\9é9/ - nfs x"] {
            assert_eq!(network_type(text, "/a"), None, "{text:?}");
        }
    }
}
