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
    /// How often it was loaded, or began to be.
    load: u64,
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
    /// It is here, and has a lease more, of this load.
    Here(H, u64),
    /// It comes or goes: ask again later.
    Wait,
    /// This has to be loaded, by who was told so, and that is this load.
    Load(String, u64),
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
        entry.or_insert_with(|| Entry { model: model.to_owned(), slot: Slot::Absent, load: 0, used: 0 }).model == model
    }

    /// Takes a lease of a model, or says what has to be done first.
    pub(super) fn lease(&mut self, name: &str) -> Lookup<H> {
        self.clock += 1;
        let Some(entry) = self.entries.get_mut(name) else { return Lookup::Unknown };
        match &mut entry.slot {
            Slot::Loaded { handle, leases, .. } => {
                *leases += 1;
                entry.used = self.clock;
                Lookup::Here(handle.clone(), entry.load)
            }
            Slot::Loading(_) | Slot::Leaving(_) => Lookup::Wait,
            Slot::Absent => {
                entry.slot = Slot::Loading(0);
                entry.load += 1;
                Lookup::Load(entry.model.clone(), entry.load)
            }
        }
    }

    /// Gives a lease of this `load` back. One that outlives what it is of isn't counted among those of a later load.
    pub(super) fn give_back(&mut self, name: &str, load: u64) {
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(name)
            && entry.load == load
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

    /// Notes that a model is loaded, unless it is gone already; who loaded it has a lease.
    pub(super) fn loaded(&mut self, name: &str, load: u64, handle: H) {
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(name)
            && entry.load == load
            && let Slot::Loading(bytes) = entry.slot
        {
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

    /// Loads a model of 10 bytes, and leases it.
    fn load(models: &mut Models<u32>, name: &str, handle: u32) -> u64 {
        let Lookup::Load(model, load) = models.lease(name) else { panic!("it isn't absent") };
        assert_eq!((model, models.make_room(name, 10)), (name.to_uppercase(), Room::Taken));
        models.loaded(name, load, handle);
        load
    }

    /// Loads a model of 10 bytes and gives it back.
    fn use_once(models: &mut Models<u32>, name: &str, handle: u32) {
        let load = load(models, name, handle);
        models.give_back(name, load);
    }

    #[test]
    fn who_was_not_used_for_the_longest_time_leaves() {
        let mut models = models(20);
        use_once(&mut models, "a", 1);
        use_once(&mut models, "b", 2);
        assert_eq!(models.lease("a"), Lookup::Here(1, 1));
        models.give_back("a", 1);
        assert_eq!(models.lease("c"), Lookup::Load("C".into(), 1));
        assert_eq!(models.make_room("c", 10), Room::Leaves("b".into(), 2));
        // Until it is gone it takes what it took.
        assert_eq!((models.bytes(), models.lease("b")), (20, Lookup::Wait));
        models.absent("b");
        assert_eq!(models.make_room("c", 10), Room::Taken);
        models.loaded("c", 1, 3);
        let loaded = models.states().into_iter().map(|state| (state.bytes, state.leases)).collect::<Vec<_>>();
        assert_eq!(loaded, [(Some(10), 0), (None, 0), (Some(10), 1)]);
    }

    #[test]
    fn who_is_in_use_stays() {
        let mut models = models(20);
        use_once(&mut models, "a", 1);
        use_once(&mut models, "b", 2);
        assert_eq!([models.lease("a"), models.lease("b")], [Lookup::Here(1, 1), Lookup::Here(2, 1)]);
        assert_eq!(models.lease("c"), Lookup::Load("C".into(), 1));
        assert_eq!(models.make_room("c", 10), Room::Wait);
        assert_eq!(models.unload("a"), None);
        models.give_back("a", 1);
        assert_eq!(models.make_room("c", 10), Room::Leaves("a".into(), 1));
        assert_eq!(models.make_room("c", 21), Room::Never);
    }

    #[test]
    fn a_lease_that_outlives_its_model_is_not_one_of_the_next() {
        let mut models = models(10);
        let first = load(&mut models, "a", 1);
        assert_eq!(models.unload_all(), [("a".into(), 1)]);
        models.absent("a");
        let second = load(&mut models, "a", 2);
        models.give_back("a", first);
        assert_eq!(models.unload("a"), None);
        models.give_back("a", second);
        assert_eq!(models.unload("a"), Some(2));
    }

    #[test]
    fn what_is_gone_before_it_is_said_to_be_here_stays_gone() {
        let mut models = models(10);
        assert_eq!(models.lease("a"), Lookup::Load("A".into(), 1));
        models.absent("a");
        models.loaded("a", 1, 1);
        assert_eq!(models.lease("a"), Lookup::Load("A".into(), 2));
        models.loaded("a", 1, 1);
        assert_eq!(models.lease("a"), Lookup::Wait);
    }

    #[test]
    fn it_is_loaded_once_and_again_where_that_failed() {
        let mut models = models(20);
        assert_eq!(models.lease("a"), Lookup::Load("A".into(), 1));
        assert_eq!(models.lease("a"), Lookup::Wait);
        models.absent("a");
        assert_eq!(models.lease("a"), Lookup::Load("A".into(), 2));
        assert_eq!(models.lease("d"), Lookup::Unknown);
        assert!(models.add("a", "A") && !models.add("a", "other"));
    }
}
