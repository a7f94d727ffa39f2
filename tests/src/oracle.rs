//! What a collection should hold: a sorted map, and nothing clever.
//!
//! It knows nothing of files, segments or logs. [`Oracle::difference`] compares it with a view, bit for bit.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::slice;

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Columns, View};
use nearfield_segment::{FieldKind, PointId, Result, Schema};

/// Idempotency keys of each kind that are remembered: few, so that some are forgotten.
pub const KEYS_MAX: usize = 6;

/// A point without its id.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Elements of the default field, as stored.
    pub vector: Vec<f32>,
    /// Field `n` of its document `{"n":…}`; `None` means that it has no document.
    pub n: Option<u64>,
}

impl Point {
    /// Its document as text.
    pub fn document(&self) -> Option<String> {
        self.n.map(|n| format!("{{\"n\":{n}}}"))
    }
}

/// An atomic change: deletes first, then upserts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Change {
    /// Ids to delete, known or not.
    pub deletes: Vec<PointId>,
    /// Ids of `points`, distinct; `None` has them assigned.
    pub ids: Option<Vec<PointId>>,
    /// Points to insert or replace.
    pub points: Vec<Point>,
    /// A metadata field that it declares `datetime`.
    pub declares: Option<String>,
    /// The idempotency key of the whole.
    pub key: Option<String>,
    /// Those of points, by row; none for all if it is empty.
    pub row_keys: Vec<Option<String>>,
}

impl Change {
    /// The batch that asks the engine for this change.
    ///
    /// # Errors
    /// None for a change that is one.
    pub fn batch(&self, schema: &Schema) -> Result<Batch<'static>> {
        let rows = self.points.len();
        let elements: Vec<f32> =
            self.points.iter().flat_map(|point| point.vector.iter().copied()).collect();
        let mut vectors = BTreeMap::new();
        if rows > 0 {
            vectors.insert(String::new(), Cow::Owned(elements));
        }
        let draft = Draft {
            deletes: self.deletes.clone(),
            ids: self.ids.clone(),
            rows,
            vectors,
            fields: self.declares.iter().map(|name| (name.clone(), FieldKind::Datetime)).collect(),
            idempotency_key: self.key.clone(),
            row_keys: self.row_keys.iter().map(|key| key.clone().map(Cow::Owned)).collect(),
            metadata: self.points.iter().map(|point| point.document().map(Cow::Owned)).collect(),
            ..Draft::default()
        };
        Batch::new(draft, schema)
    }
}

/// The content of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Oracle {
    /// Live points.
    pub points: BTreeMap<PointId, Point>,
    /// Declared metadata fields.
    pub declared: BTreeSet<String>,
    /// The next id to assign; `None` once all are used.
    pub next_id: Option<u64>,
    /// When it was created: tells two collections of one name apart.
    pub born: u64,
    /// The newest keys of batches, and the ids of their points.
    pub keys: VecDeque<(String, Vec<PointId>)>,
    /// The newest keys of points, and their ids.
    pub row_keys: VecDeque<(String, PointId)>,
}

impl Default for Oracle {
    fn default() -> Self {
        Oracle {
            points: BTreeMap::new(),
            declared: BTreeSet::new(),
            next_id: Some(0),
            born: 0,
            keys: VecDeque::new(),
            row_keys: VecDeque::new(),
        }
    }
}

impl Oracle {
    /// This content in the place of `current`: ids that were used stay used.
    #[must_use]
    pub fn in_place_of(&self, current: &Oracle) -> Oracle {
        let next_id = match (self.next_id, current.next_id) {
            (Some(own), Some(other)) => Some(own.max(other)),
            _ => None,
        };
        Oracle { next_id, ..self.clone() }
    }

    /// Applies a change, unless its key is known, except rows whose keys are. Returns the ids of its points.
    ///
    /// # Panics
    /// If ids are to be assigned and none are left.
    pub fn apply(&mut self, change: &Change) -> Vec<PointId> {
        let known = |key: &String| self.keys.iter().find(|(known, _)| known == key);
        if let Some((_, ids)) = change.key.as_ref().and_then(known) {
            return ids.clone();
        }
        self.declared.extend(change.declares.clone());
        for id in &change.deletes {
            self.points.remove(id);
        }
        let mut ids = Vec::new();
        let mut new_keys = Vec::new();
        for (row, point) in change.points.iter().enumerate() {
            let key = change.row_keys.get(row).and_then(Option::as_ref);
            let known = self.row_keys.iter().find(|(known, _)| Some(known) == key);
            if let Some((_, id)) = known {
                ids.push(id.clone());
                continue;
            }
            let id = change.ids.as_ref().map_or_else(|| self.next_id(), |ids| ids[row].clone());
            new_keys.extend(key.map(|key| (key.clone(), id.clone())));
            self.insert(&id, point);
            ids.push(id);
        }
        self.row_keys.extend(new_keys);
        self.keys.extend(change.key.iter().map(|key| (key.clone(), ids.clone())));
        self.keys.drain(..self.keys.len().saturating_sub(KEYS_MAX));
        self.row_keys.drain(..self.row_keys.len().saturating_sub(KEYS_MAX));
        ids
    }

    fn next_id(&self) -> PointId {
        PointId::U64(self.next_id.expect("the test leaves ids to assign"))
    }

    fn insert(&mut self, id: &PointId, point: &Point) {
        if let (PointId::U64(used), Some(next)) = (id, self.next_id) {
            self.next_id = if *used >= next { used.checked_add(1) } else { Some(next) };
        }
        self.points.insert(id.clone(), point.clone());
    }

    /// Removes the points with a field `n` below `bound`.
    pub fn delete_below(&mut self, bound: u64) {
        self.points.retain(|_, point| point.n.is_none_or(|n| n >= bound));
    }

    /// Reads all points of a view.
    ///
    /// # Errors
    /// `Corrupt` if some are damaged.
    pub fn read(view: &View) -> Result<()> {
        for (live, rows) in view.segments.iter().zip(view.live_rows()) {
            let ids = live.segment.ids()?;
            let ids: Vec<PointId> = rows.iter().map(|row| ids.id(row)).collect();
            view.get(&ids, Columns { vectors: &[""], metadata: true })?;
        }
        Ok(())
    }

    /// The first difference between this and what a view holds, if there is one. O(points × segments).
    pub fn difference(&self, view: &View) -> Option<String> {
        self.compare(view).err()
    }

    fn compare(&self, view: &View) -> std::result::Result<(), String> {
        if view.len() != self.points.len() as u64 {
            return Err(format!("{} points, expected {}", view.len(), self.points.len()));
        }
        let declared: Vec<&str> = view.schema.fields.paths().collect();
        if !self.declared.iter().eq(&declared) {
            return Err(format!("declared: {declared:?}, expected {:?}", self.declared));
        }
        let mut seen = BTreeMap::new();
        for (live, rows) in view.segments.iter().zip(view.live_rows()) {
            for row in rows.iter() {
                let id = live.segment.ids().map_err(|error| error.to_string())?.id(row);
                if !self.points.contains_key(&id) {
                    return Err(format!("{id} should not be there"));
                }
                if seen.insert(id.clone(), ()).is_some() {
                    return Err(format!("{id} is there twice"));
                }
            }
        }
        self.points.iter().try_for_each(|(id, point)| compare_point(view, id, point))
    }
}

fn compare_point(view: &View, id: &PointId, point: &Point) -> std::result::Result<(), String> {
    let columns = Columns { vectors: &[""], metadata: true };
    let read = view.get(slice::from_ref(id), columns).map_err(|error| format!("{id}: {error}"))?;
    let (found, missing) = read;
    if !missing.is_empty() {
        return Err(format!("{id} is missing"));
    }
    let (document, vector) = (found.metadata[0].as_deref(), &found.vectors[0]);
    if document.map(str::to_owned) != point.document() {
        return Err(format!("{id}: document {document:?}, expected {:?}", point.document()));
    }
    let bits = |elements: &[f32]| elements.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    if bits(vector) != bits(&point.vector) {
        return Err(format!("{id}: vector {vector:?}, expected {:?}", point.vector));
    }
    Ok(())
}
