//! Decides which frames of the log are valid, and whether damage is a torn tail or corruption. Entry:
//! `Scan::read` (a log and two LSNs → its valid parts), called by `replay` and `timeline`.
//!
//! **Evidence.** A frame names the LSN that was durable when it was appended; a file's header is written after
//! everything before the file was durable; a manifest's checkpoint LSN is durable. Damage at an LSN that some
//! evidence calls durable is corruption and refused, wherever it lies. All other damage is the unsynced tail of a
//! crash: sectors of it may be missing, torn or reordered, so nothing behind the first invalid byte is used.
//!
//! **Which frames count.** A file's frames count up to the LSN that the next file continues after. For an
//! ordinary successor that is all of them; a new timeline leaves the rest of its predecessors behind.
//!
//! Reads only; repairing is `replay`'s.

use nearfield_segment::{Error, Lsn, Result};

use super::files::{LogDirectory, OpenFile, SealedFile};
use super::frame::FILE_HEADER_BYTES;
use super::walk::{Part, Walk, search_behind, walk_file};

/// What the log holds after an LSN.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The files to read frames from, in order, each with the end of its valid part.
    pub(crate) parts: Vec<Part>,
    /// Newest valid LSN.
    pub(crate) last: Lsn,
    /// Newest LSN known to be durable.
    pub(crate) durable: Lsn,
    /// Link of the frame `last`.
    pub(crate) link: u32,
    /// Timeline of the newest file; 1 for an empty log.
    pub(crate) timeline: u32,
    /// Where the newest file stopped being valid.
    pub(crate) damage: Option<u64>,
    /// A newest file whose creation was cut short.
    pub(crate) unborn: Option<OpenFile>,
    /// Live files, except the newest of `parts` and `unborn`.
    pub(crate) sealed: Vec<SealedFile>,
}

impl Scan {
    /// Validates the log above `from` (durable, by the manifest that names it), up to `through`.
    ///
    /// # Errors
    /// `Corrupt` naming file and offset, `Version`, `NotFound` if a file was archived meanwhile, `Io`.
    pub(crate) fn read(place: &LogDirectory, from: Lsn, through: Lsn) -> Result<Scan> {
        let mut scan = Scan {
            parts: Vec::new(),
            last: from,
            durable: from,
            link: 0,
            timeline: 1,
            damage: None,
            unborn: None,
            sealed: Vec::new(),
        };
        let mut named = place.list()?;
        let start = named.iter().rposition(|file| file.first <= from.next()).unwrap_or(0);
        let mut skipped: Vec<_> = named.drain(..start).collect();
        let mut files = Vec::new();
        for file in named {
            files.push(place.open(file)?);
        }
        if files.last().is_some_and(is_unborn) {
            scan.unborn = files.pop();
            if let (true, Some(before)) = (files.is_empty(), skipped.pop()) {
                files.push(place.open(before)?);
            }
        }
        let parts = files.into_iter().map(|file| part(place, file)).collect::<Result<Vec<_>>>()?;
        check_order(&parts)?;
        for (index, file) in skipped.iter().enumerate().filter(|(_, file)| file.live) {
            let next = skipped.get(index + 1).map(|next| next.first);
            let next = next.or(parts.first().map(|part| part.header.first)).unwrap_or(file.first);
            let bytes = place.open(*file)?.len();
            scan.sealed.push(SealedFile { first: file.first, last: Lsn(next.0 - 1), bytes });
        }
        scan.walk(parts, from, through)?;
        Ok(scan)
    }

    /// The LSN up to which each part counts, as later files say; the newest counts to its end.
    fn shares(&self, parts: &[Part]) -> Vec<Option<Lsn>> {
        let mut share = self.unborn.as_ref().map(|file| Lsn(file.named.first.0.saturating_sub(1)));
        let mut shares: Vec<_> = parts
            .iter()
            .rev()
            .map(|part| {
                let own = share;
                let continues = part.header.continues;
                share = Some(share.map_or(continues, |later| later.min(continues)));
                own
            })
            .collect();
        shares.reverse();
        shares
    }

    fn walk(&mut self, parts: Vec<Part>, from: Lsn, through: Lsn) -> Result<()> {
        let shares = self.shares(&parts);
        let newest = parts.len().saturating_sub(1);
        let mut entered = false;
        for (index, (mut part, share)) in parts.into_iter().zip(shares).enumerate() {
            let abandoned = share.is_some_and(|share| part.header.first > share);
            if part.file.named.live && (index < newest || self.unborn.is_some()) {
                let (first, bytes) = (part.header.first, part.file.len());
                let last = share.expect("only the newest file has no successor");
                self.sealed.push(SealedFile { first, last, bytes });
            }
            if abandoned || (entered && self.last >= through) {
                continue;
            }
            self.enter(&part, entered, from, share)?;
            entered = true;
            let limit = share.map_or(through, |share| share.min(through));
            let walk = walk_file(&part, limit, from)?;
            self.accept(&mut part, walk, limit, share)?;
            self.parts.push(part);
        }
        Ok(())
    }

    /// Checks that a file follows what was read before it.
    fn enter(&self, part: &Part, entered: bool, from: Lsn, share: Option<Lsn>) -> Result<()> {
        let header = &part.header;
        if !entered && header.continues > from {
            return Err(part.file.corrupt(
                40,
                format!("log missing: LSN {} to {} are not there", from.next(), header.continues),
            ));
        }
        let left_behind = (header.continues < from && from < header.first)
            || share.is_some_and(|share| share < from);
        if !entered && left_behind {
            return Err(Error::new(
                nearfield_segment::ErrorKind::Conflict,
                format!("LSN {from} belongs to a timeline that was left behind"),
            ));
        }
        if entered && (header.continues != self.last || header.previous_link != self.link) {
            return Err(part.file.corrupt(
                40,
                format!(
                    "continues LSN {} (link {:08x}), but the file before it ends with LSN {} (link \
                     {:08x})",
                    header.continues, header.previous_link, self.last, self.link
                ),
            ));
        }
        Ok(())
    }

    /// Takes over the result of one file, or refuses it.
    fn accept(
        &mut self,
        part: &mut Part,
        walk: Walk,
        limit: Lsn,
        share: Option<Lsn>,
    ) -> Result<()> {
        (part.end, part.end_link, part.last) = (walk.end, walk.end_link, walk.last);
        self.durable = self.durable.max(walk.durable);
        (self.last, self.link, self.timeline) = (walk.last, walk.link, part.header.timeline);
        if share.is_some() {
            self.durable = self.durable.max(limit);
        }
        if walk.last >= limit {
            return Ok(());
        }
        if walk.damaged {
            let lost = walk.last.next();
            let (named_durable, at) = search_behind(part, walk.end)?;
            let durable = self.durable.max(named_durable);
            if durable >= lost {
                let evidence =
                    if named_durable >= lost { format!(" by offset {at}") } else { String::new() };
                return Err(part.file.corrupt(
                    walk.end,
                    format!(
                        "expected the frame of LSN {lost}, which was durable (up to LSN \
                         {durable}{evidence}), found damage"
                    ),
                ));
            }
            self.durable = durable;
            self.damage = Some(walk.end);
        } else if self.durable > walk.last {
            return Err(part.file.corrupt(
                walk.end,
                format!(
                    "the file ends with LSN {}, but LSN {} was durable",
                    walk.last, self.durable
                ),
            ));
        }
        Ok(())
    }
}

fn check_order(parts: &[Part]) -> Result<()> {
    for pair in parts.windows(2) {
        let (before, after) = (&pair[0].header, &pair[1].header);
        if after.timeline < before.timeline {
            return Err(pair[1].file.corrupt(
                48,
                format!("timeline {} after timeline {}", after.timeline, before.timeline),
            ));
        }
        if after.timeline == before.timeline && after.leaves_gap() {
            return Err(pair[1].file.corrupt(
                40,
                format!("LSN {} after LSN {} on one timeline", after.first, after.continues),
            ));
        }
    }
    Ok(())
}

/// A newest file that holds no frame and no whole header: its creation was cut short, or it is being
/// created at this moment.
fn is_unborn(file: &OpenFile) -> bool {
    let damaged = |error: &Error| error.kind() == nearfield_segment::ErrorKind::Corrupt;
    file.len() <= FILE_HEADER_BYTES as u64 && file.header.as_ref().is_err_and(damaged)
}

fn part(place: &LogDirectory, mut file: OpenFile) -> Result<Part> {
    let unread = Err(Error::new(nearfield_segment::ErrorKind::Corrupt, "header was taken"));
    let (header, crc) = std::mem::replace(&mut file.header, unread)?;
    if header.first != file.named.first {
        return Err(file.corrupt(32, format!("the header says first LSN {}", header.first)));
    }
    if header.collection != place.collection() {
        return Err(file.corrupt(
            16,
            format!("belongs to collection {}, not {}", header.collection, place.collection()),
        ));
    }
    let last = header.continues;
    Ok(Part { file, header, crc, end: FILE_HEADER_BYTES as u64, end_link: crc, last })
}
