//! `metadata.managedFields`.

use super::path::{Set, from_fields_v1, to_fields_v1};
use crate::api::Call;
use crate::object::{list, text};
use serde_json::{Value, json};

/// How a manager writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By anything else.
    Update,
}

/// Who an entry belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The manager's name.
    pub manager: String,
    /// How it writes.
    pub operation: Operation,
    /// The API version its fields are in.
    pub api_version: String,
    /// The sub-resource it writes through.
    pub subresource: String,
}

#[derive(Debug, Clone)]
struct Owned {
    entry: Entry,
    time: String,
    set: Set,
}

/// All entries of an object.
#[derive(Debug, Default)]
pub struct Managed(Vec<Owned>);

/// Nobody needs more managers of one object; beyond this the oldest updaters share an entry.
const MAX_UPDATERS: usize = 10;

impl Managed {
    /// From an object.
    pub fn read(object: &Value) -> Self {
        Self::from_list(object.pointer("/metadata/managedFields"))
    }

    /// From the list itself.
    pub fn from_list(managed: Option<&Value>) -> Self {
        let Some(managed) = managed else { return Managed::default() };
        let owned = list(managed, "").iter().map(|e| Owned {
            entry: Entry {
                manager: text(e, "/manager").to_owned(),
                operation: if text(e, "/operation") == "Apply" {
                    Operation::Apply
                } else {
                    Operation::Update
                },
                api_version: text(e, "/apiVersion").to_owned(),
                subresource: text(e, "/subresource").to_owned(),
            },
            time: text(e, "/time").to_owned(),
            set: from_fields_v1(&e["fieldsV1"]),
        });
        Managed(owned.collect())
    }

    /// The entry that a call writes to.
    pub fn entry(&self, call: &Call, operation: Operation) -> Entry {
        Entry {
            manager: crate::api::write::field_manager(call),
            operation,
            api_version: call.resource.api_version(),
            subresource: call.path.subresource.clone(),
        }
    }

    /// What an entry owns.
    pub fn set(&self, entry: &Entry) -> &Set {
        static NOTHING: Set = Set::new();
        self.0.iter().find(|o| same(&o.entry, entry)).map_or(&NOTHING, |o| &o.set)
    }

    /// What all other entries own together.
    pub fn others(&self, entry: &Entry) -> Set {
        self.0.iter().filter(|o| !same(&o.entry, entry)).flat_map(|o| o.set.iter().cloned()).collect()
    }

    /// Which of the touched fields belong to whom else.
    pub fn conflicts(&self, entry: &Entry, touched: &Set) -> Vec<(Entry, Set)> {
        let others = self.0.iter().filter(|o| !same(&o.entry, entry));
        let found = others.map(|o| (o.entry.clone(), o.set.intersection(touched).cloned().collect::<Set>()));
        found.filter(|(_, set)| !set.is_empty()).collect()
    }

    /// Others lose what was touched or removed.
    pub fn take_from_others(&mut self, entry: &Entry, touched: &Set, removed: &Set) {
        for owned in self.0.iter_mut().filter(|o| !same(&o.entry, entry)) {
            owned.set.retain(|p| !touched.contains(p) && !removed.contains(p));
        }
    }

    /// Sets what an entry owns; its time moves when the write changed something.
    pub fn put(&mut self, entry: &Entry, set: Set, changed: bool) {
        match self.0.iter_mut().find(|o| same(&o.entry, entry)) {
            Some(owned) => {
                if changed || owned.set != set {
                    owned.time = crate::object::now();
                }
                owned.set = set;
                owned.entry.api_version.clone_from(&entry.api_version);
            }
            None => self.0.push(Owned { entry: entry.clone(), time: crate::object::now(), set }),
        }
    }

    /// The list as JSON.
    pub fn write(mut self) -> Value {
        self.0.retain(|o| !o.set.is_empty());
        self.merge_oldest();
        let entry = |o: &Owned| {
            let mut out = json!({
                "manager": o.entry.manager,
                "operation": if o.entry.operation == Operation::Apply { "Apply" } else { "Update" },
                "apiVersion": o.entry.api_version, "time": o.time, "fieldsType": "FieldsV1",
                "fieldsV1": to_fields_v1(&o.set),
            });
            if !o.entry.subresource.is_empty() {
                out["subresource"] = json!(o.entry.subresource);
            }
            out
        };
        self.0.iter().map(entry).collect()
    }

    fn merge_oldest(&mut self) {
        let is_updater = |o: &Owned| o.entry.operation == Operation::Update;
        while self.0.iter().filter(|o| is_updater(o)).count() > MAX_UPDATERS {
            let mut updaters: Vec<usize> = (0..self.0.len()).filter(|i| is_updater(&self.0[*i])).collect();
            updaters.sort_by(|a, b| self.0[*a].time.cmp(&self.0[*b].time));
            let (Some(&first), Some(&second)) = (updaters.first(), updaters.get(1)) else { return };
            let gone = self.0[first].set.clone();
            self.0[second].set.extend(gone);
            self.0[second].entry.manager = "ancient-changes".into();
            self.0.remove(first);
        }
    }
}

/// Appliers are one whatever version they apply in.
fn same(a: &Entry, b: &Entry) -> bool {
    a.manager == b.manager
        && a.operation == b.operation
        && a.subresource == b.subresource
        && (a.operation == Operation::Apply || a.api_version == b.api_version)
}
