//! Which models there are, what each takes, and which has to leave for another. Knows no threads, no files and no clock;
//! `H` is the way to a model.
//!
//! Invariant: what models take that are loaded, being loaded or about to leave is never more than the limit.

use std::collections::BTreeMap;

/// Models by name.
#[derive(Debug)]
pub(super) struct Models<H> {
    limit: u64,
    entries: BTreeMap<String, Entry<H>>,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Entry<H> {
    /// What is to be loaded.
    model: String,
    slot: Slot<H>,
    /// When it was used last.
    used: u64,
}

#[derive(Debug)]
enum Slot<H> {
    Absent,
    /// Somebody loads it; it takes so much, once that is known and there is room.
    Loading(u64),
    Loaded {
        handle: H,
        bytes: u64,
        leases: usize,
    },
    /// It answers what it was asked, and is gone then.
    Leaving(u64),
}

/// What becomes of who asks for a model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup<H> {
    /// There is none of this name.
    Unknown,
    /// It is here, and has a lease more.
    Here(H),
    /// It comes or goes: ask again later.
    Wait,
    /// It has to be loaded, by who was told so.
    Load(String),
}

/// What becomes of who needs room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room<H> {
    /// There is, and it is taken.
    Taken,
    /// This one has to leave first; ask again then.
    Leaves(String, H),
    /// Those that are in use have to be given back first, or to be gone.
    Wait,
    /// There will never be.
    Never,
}

/// What is known of a model that somebody may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelState {
    /// What it is called here.
    pub name: String,
    /// What is loaded under this name.
    pub model: String,
    /// Bytes that it takes; `None` where it isn't loaded.
    pub bytes: Option<u64>,
    /// Leases that aren't given back.
    pub leases: usize,
}

impl<H: Clone> Models<H> {
    /// None yet; together they may take `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, entries: BTreeMap::new(), clock: 0 }
    }

    /// Calls `model` by `name`. `false` if another one is called so.
    pub(super) fn add(&mut self, name: &str, model: &str) -> bool {
        let entry = self.entries.entry(name.to_owned());
        entry.or_insert_with(|| Entry { model: model.to_owned(), slot: Slot::Absent, used: 0 }).model == model
    }

    /// Takes a lease of a model, or says what has to be done first.
    pub(super) fn lease(&mut self, name: &str) -> Lookup<H> {
        self.clock += 1;
        let Some(entry) = self.entries.get_mut(name) else { return Lookup::Unknown };
        match &mut entry.slot {
            Slot::Loaded { handle, leases, .. } => {
                *leases += 1;
                entry.used = self.clock;
                Lookup::Here(handle.clone())
            }
            Slot::Loading(_) | Slot::Leaving(_) => Lookup::Wait,
            Slot::Absent => {
                entry.slot = Slot::Loading(0);
                Lookup::Load(entry.model.clone())
            }
        }
    }

    /// Gives a lease back.
    pub(super) fn give_back(&mut self, name: &str) {
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(name)
            && let Slot::Loaded { leases, .. } = &mut entry.slot
        {
            *leases = leases.saturating_sub(1);
            entry.used = self.clock;
        }
    }

    /// Takes room of `bytes` for a model that is being loaded. Of those that nobody has a lease of, the one leaves that
    /// wasn't used for the longest time.
    pub(super) fn make_room(&mut self, name: &str, bytes: u64) -> Room<H> {
        if bytes > self.limit {
            return Room::Never;
        }
        if self.bytes().saturating_add(bytes) <= self.limit {
            if let Some(entry) = self.entries.get_mut(name) {
                entry.slot = Slot::Loading(bytes);
            }
            return Room::Taken;
        }
        let idle = |entry: &&mut Entry<H>| matches!(entry.slot, Slot::Loaded { leases: 0, .. });
        let oldest = self.entries.iter_mut().filter(|(_, entry)| idle(entry)).min_by_key(|(_, entry)| entry.used);
        match oldest.and_then(|(name, entry)| Some((name.clone(), entry.leave()?))) {
            Some((name, handle)) => Room::Leaves(name, handle),
            None => Room::Wait,
        }
    }

    /// Notes that a model is loaded that takes `bytes`; who loaded it has a lease.
    pub(super) fn loaded(&mut self, name: &str, handle: H, bytes: u64) {
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(name) {
            entry.slot = Slot::Loaded { handle, bytes, leases: 1 };
            entry.used = self.clock;
        }
    }

    /// Makes a model leave that nobody has a lease of.
    pub(super) fn unload(&mut self, name: &str) -> Option<H> {
        let entry = self.entries.get_mut(name)?;
        if matches!(entry.slot, Slot::Loaded { leases: 0, .. }) { entry.leave() } else { None }
    }

    /// Makes all models leave that are loaded.
    pub(super) fn unload_all(&mut self) -> Vec<(String, H)> {
        let leaving = self.entries.iter_mut().filter_map(|(name, entry)| Some((name.clone(), entry.leave()?)));
        leaving.collect()
    }

    /// Notes that a model isn't here: it is gone, or couldn't be loaded.
    pub(super) fn absent(&mut self, name: &str) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.slot = Slot::Absent;
        }
    }

    /// Bytes that all of them take.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.values().map(Entry::bytes).fold(0, u64::saturating_add)
    }

    /// All models, by name.
    pub(super) fn states(&self) -> Vec<ModelState> {
        let state = |(name, entry): (&String, &Entry<H>)| {
            let (bytes, leases) = match &entry.slot {
                Slot::Loaded { bytes, leases, .. } => (Some(*bytes), *leases),
                Slot::Absent | Slot::Loading(_) | Slot::Leaving(_) => (None, 0),
            };
            ModelState { name: name.clone(), model: entry.model.clone(), bytes, leases }
        };
        self.entries.iter().map(state).collect()
    }
}

impl<H> Entry<H> {
    fn bytes(&self) -> u64 {
        match &self.slot {
            Slot::Absent => 0,
            Slot::Loading(bytes) | Slot::Loaded { bytes, .. } | Slot::Leaving(bytes) => *bytes,
        }
    }

    fn leave(&mut self) -> Option<H> {
        let leaving = Slot::Leaving(self.bytes());
        match std::mem::replace(&mut self.slot, leaving) {
            Slot::Loaded { handle, .. } => Some(handle),
            other => {
                self.slot = other;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(limit: u64) -> Models<u32> {
        let mut models = Models::new(limit);
        for name in ["a", "b", "c"] {
            assert!(models.add(name, &name.to_uppercase()));
        }
        models
    }

    /// Loads a model of 10 bytes and gives it back.
    fn use_once(models: &mut Models<u32>, name: &str, handle: u32) {
        assert_eq!(models.lease(name), Lookup::Load(name.to_uppercase()));
        assert_eq!(models.make_room(name, 10), Room::Taken);
        models.loaded(name, handle, 10);
        models.give_back(name);
    }

    #[test]
    fn who_was_not_used_for_the_longest_time_leaves() {
        let mut models = models(20);
        use_once(&mut models, "a", 1);
        use_once(&mut models, "b", 2);
        assert_eq!(models.lease("a"), Lookup::Here(1));
        models.give_back("a");
        assert_eq!(models.lease("c"), Lookup::Load("C".into()));
        assert_eq!(models.make_room("c", 10), Room::Leaves("b".into(), 2));
        // Until it is gone it takes what it took.
        assert_eq!((models.bytes(), models.lease("b")), (20, Lookup::Wait));
        models.absent("b");
        assert_eq!(models.make_room("c", 10), Room::Taken);
        models.loaded("c", 3, 10);
        let loaded = models.states().into_iter().map(|state| (state.bytes, state.leases)).collect::<Vec<_>>();
        assert_eq!(loaded, [(Some(10), 0), (None, 0), (Some(10), 1)]);
    }

    #[test]
    fn who_is_in_use_stays() {
        let mut models = models(20);
        use_once(&mut models, "a", 1);
        use_once(&mut models, "b", 2);
        assert_eq!([models.lease("a"), models.lease("b")], [Lookup::Here(1), Lookup::Here(2)]);
        assert_eq!(models.lease("c"), Lookup::Load("C".into()));
        assert_eq!(models.make_room("c", 10), Room::Wait);
        assert_eq!(models.unload("a"), None);
        models.give_back("a");
        assert_eq!(models.make_room("c", 10), Room::Leaves("a".into(), 1));
        assert_eq!(models.make_room("c", 21), Room::Never);
    }

    #[test]
    fn it_is_loaded_once_and_again_where_that_failed() {
        let mut models = models(20);
        assert_eq!(models.lease("a"), Lookup::Load("A".into()));
        assert_eq!(models.lease("a"), Lookup::Wait);
        models.absent("a");
        assert_eq!(models.lease("a"), Lookup::Load("A".into()));
        assert_eq!(models.lease("d"), Lookup::Unknown);
        assert!(models.add("a", "A") && !models.add("a", "other"));
    }
}
