//! A thread's memory of hot files.
//!
//! Bounded in bytes; entries that are not asked for again make room first (second chance, an approximation of
//! least recently used that costs a hit nothing but a flag).

use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use super::Entry;

/// What an entry costs besides its content: its fields, its key twice, its share of the tables. It also
/// bounds the number of entries.
const ENTRY_OVERHEAD: usize = 512;

/// Files of all roots of one thread. Keys tell roots apart.
#[derive(Debug)]
pub(super) struct Cache {
    // Keys are names of existing files, so clients can't choose them to collide: a fast hash is safe.
    slots: FxHashMap<Rc<[u8]>, Slot>,
    queue: VecDeque<Rc<[u8]>>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Slot {
    entry: Rc<Entry>,
    checked: Instant,
    used: bool,
}

impl Cache {
    pub fn new(bytes_max: usize) -> Cache {
        Cache { slots: FxHashMap::default(), queue: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// The entry, and when it was last compared with the file system.
    #[inline]
    pub fn get(&mut self, key: &[u8]) -> Option<(Rc<Entry>, Instant)> {
        let slot = self.slots.get_mut(key)?;
        slot.used = true;
        Some((slot.entry.clone(), slot.checked))
    }

    /// Notes that the entry agrees with the file system.
    pub fn confirm(&mut self, key: &[u8], now: Instant) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.checked = now;
        }
    }

    pub fn insert(&mut self, key: &[u8], entry: Rc<Entry>, now: Instant) {
        self.remove(key);
        let cost = cost(key, &entry);
        if cost > self.bytes_max {
            return;
        }
        while self.bytes + cost > self.bytes_max {
            self.evict_one();
        }
        self.bytes += cost;
        let key: Rc<[u8]> = key.into();
        self.slots.insert(key.clone(), Slot { entry, checked: now, used: false });
        self.queue.push_back(key);
    }

    pub fn remove(&mut self, key: &[u8]) {
        if let Some((key, slot)) = self.slots.remove_entry(key) {
            self.bytes -= cost(&key, &slot.entry);
            self.queue.retain(|other| *other != key);
        }
    }

    /// Forgets every key with this beginning.
    pub fn remove_prefix(&mut self, prefix: &[u8]) {
        let bytes = &mut self.bytes;
        self.slots.retain(|key, slot| {
            let keep = !key.starts_with(prefix);
            if !keep {
                *bytes -= cost(key, &slot.entry);
            }
            keep
        });
        self.queue.retain(|key| !key.starts_with(prefix));
    }

    fn evict_one(&mut self) {
        // Ends: each turn removes an entry or clears a flag, and nobody sets flags meanwhile.
        while let Some(key) = self.queue.pop_front() {
            match self.slots.get_mut(&key) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.queue.push_back(key);
                }
                Some(slot) => {
                    self.bytes -= cost(&key, &slot.entry);
                    self.slots.remove(&key);
                    return;
                }
                None => {}
            }
        }
        self.bytes = 0;
    }
}

fn cost(key: &[u8], entry: &Entry) -> usize {
    ENTRY_OVERHEAD + 2 * key.len() + entry.memory_len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(len: usize) -> Rc<Entry> {
        Rc::new(super::super::tests::entry_of(&vec![b'x'; len]))
    }

    fn filled(bytes_max: usize, keys: &[&[u8]]) -> Cache {
        let mut cache = Cache::new(bytes_max);
        for key in keys {
            cache.insert(key, entry(1000), Instant::now());
        }
        cache
    }

    #[test]
    fn what_is_used_stays_and_bytes_are_bounded() {
        let each = cost(b"1a", &entry(1000));
        let mut cache = filled(3 * each, &[b"1a", b"1b", b"1c"]);
        assert!(cache.get(b"1a").is_some());
        cache.insert(b"1d", entry(1000), Instant::now());
        assert!(cache.get(b"1b").is_none() && cache.get(b"1a").is_some());
        assert_eq!((cache.bytes, cache.slots.len(), cache.queue.len()), (3 * each, 3, 3));
        // All in use: the oldest goes.
        for key in [b"1a", b"1c", b"1d"] {
            assert!(cache.get(key).is_some());
        }
        cache.insert(b"1e", entry(1000), Instant::now());
        assert_eq!((cache.slots.len(), cache.queue.len()), (3, 3));
    }

    #[test]
    fn replacing_removing_and_too_large_keep_the_count() {
        let mut cache = filled(100_000, &[b"1a", b"2a", b"2b"]);
        cache.insert(b"1a", entry(5000), Instant::now());
        cache.insert(b"1z", entry(200_000), Instant::now());
        assert!(cache.get(b"1z").is_none());
        cache.remove_prefix(b"2");
        assert_eq!(cache.bytes, cost(b"1a", &entry(5000)));
        cache.remove(b"1a");
        cache.remove(b"1a");
        assert_eq!((cache.bytes, cache.slots.len(), cache.queue.len()), (0, 0, 0));
    }
}
