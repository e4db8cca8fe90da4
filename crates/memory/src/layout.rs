//! Which segment a block lies in, and when a segment is made or closed: decisions, without a system call.

use range_alloc::RangeAllocator;
use std::collections::BTreeMap;
use std::ops::Range;

/// Blocks start at a page, so that what one holds never shares a page, or a cache line, with another.
const PAGE: u64 = 4096;
/// A block up to this part of an ordinary segment shares it with others; a larger one gets a segment of its own.
const SHARING_DIVISOR: u64 = 2;
/// An ordinary segment: a few arrays of some megabytes on their way, with one descriptor and one mapping on each side.
/// Pages that nobody has written yet take no memory.
const SEGMENT_BYTES: u64 = 32 << 20;

/// How much memory a process may hold for others to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all segments, used or not.
    pub bytes_max: u64,
    /// Bytes of an ordinary segment.
    pub segment_bytes: u64,
    /// Bytes of segments that are kept though nothing lies in them. They have their pages already, which is what makes
    /// the next array cheap.
    pub idle_bytes_max: u64,
}

impl Limits {
    /// What suits a process that may hold `bytes_max` bytes.
    pub fn for_bytes(bytes_max: u64) -> Limits {
        let segment_bytes = (bytes_max / SHARING_DIVISOR).min(SEGMENT_BYTES) / PAGE * PAGE;
        Limits { bytes_max, segment_bytes, idle_bytes_max: 2 * segment_bytes }
    }
}

/// No room for a block under [`Limits::bytes_max`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Bytes asked for.
    pub wanted: u64,
    /// Bytes of the segments there are.
    pub held: u64,
    /// The limit.
    pub bytes_max: u64,
}

/// Where a block goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Into a segment there is.
    Inside(u64, Range<u64>),
    /// Into a segment that is to be made first: [`Layout::add`].
    Fresh {
        /// Bytes of the segment.
        segment: u64,
        /// Bytes of the block, whole pages.
        block: u64,
    },
}

struct Area {
    free: RangeAllocator<u64>,
    bytes: u64,
    used: u64,
    retired: bool,
}

/// The segments of a process, by number in the order they were made.
pub struct Layout {
    limits: Limits,
    areas: BTreeMap<u64, Area>,
    next: u64,
}

impl Layout {
    pub fn new(limits: Limits) -> Layout {
        Layout { limits, areas: BTreeMap::new(), next: 0 }
    }

    /// Says how much there may be from now on. Segments there are stay.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Bytes of all segments.
    pub fn held(&self) -> u64 {
        self.areas.values().map(|area| area.bytes).sum()
    }

    /// Finds room for `bytes`. `closed` gets the numbers of idle segments that have to make room. With `untouched`, a
    /// block that needs a segment of its own gets a new one, whose pages are still zero.
    pub fn place(&mut self, bytes: u64, untouched: bool, closed: &mut Vec<u64>) -> Result<Placement, Full> {
        let full = |held| Full { wanted: bytes, held, bytes_max: self.limits.bytes_max };
        let size = bytes.max(1).checked_next_multiple_of(PAGE).ok_or(full(self.held()))?;
        let sharing = size <= self.limits.segment_bytes / SHARING_DIVISOR;
        if sharing || !untouched {
            for (&number, area) in &mut self.areas {
                let fits = if sharing { area.bytes == self.limits.segment_bytes } else { area.bytes <= size + size / 4 };
                if fits
                    && !area.retired
                    && let Ok(range) = area.free.allocate_range(size)
                {
                    area.used += size;
                    return Ok(Placement::Inside(number, range));
                }
            }
        }
        let fresh = if sharing { self.limits.segment_bytes } else { size };
        let in_use: u64 = self.areas.values().filter(|area| area.used > 0).map(|area| area.bytes).sum();
        if in_use.saturating_add(fresh) > self.limits.bytes_max {
            return Err(full(self.held()));
        }
        while self.held() + fresh > self.limits.bytes_max {
            let Some(idle) = self.areas.iter().find(|(_, area)| area.used == 0).map(|(&number, _)| number) else { break };
            self.areas.remove(&idle);
            closed.push(idle);
        }
        Ok(Placement::Fresh { segment: fresh, block: size })
    }

    /// A segment has been made for a block as [`Placement::Fresh`] said. Its number, and where in it the block lies.
    pub fn add(&mut self, segment: u64, block: u64) -> (u64, Range<u64>) {
        let number = self.next;
        self.next += 1;
        let mut free = RangeAllocator::new(0..segment);
        let range = free.allocate_range(block).unwrap_or(0..0);
        let used = range.end - range.start;
        self.areas.insert(number, Area { free, bytes: segment, used, retired: false });
        (number, range)
    }

    /// The block in `range` is not needed any more. True: nor is the segment, which is forgotten.
    pub fn give_back(&mut self, number: u64, range: Range<u64>) -> bool {
        let idle: u64 = self.areas.values().filter(|area| area.used == 0).map(|area| area.bytes).sum();
        let Some(area) = self.areas.get_mut(&number) else { return false };
        area.used -= range.end - range.start;
        area.free.free_range(range);
        let over = area.used == 0 && (area.retired || idle + area.bytes > self.limits.idle_bytes_max);
        if over {
            self.areas.remove(&number);
        }
        over
    }

    /// Somebody out of reach may look at this segment for ever: nothing new is put there.
    pub fn retire(&mut self, number: u64) {
        if let Some(area) = self.areas.get_mut(&number) {
            area.retired = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { bytes_max: 64 * PAGE, segment_bytes: 16 * PAGE, idle_bytes_max: 16 * PAGE };

    #[derive(Clone, Debug)]
    enum Step {
        Place(u64, bool),
        GiveBack(usize),
        Retire(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1..40 * PAGE, any::<bool>()).prop_map(|(bytes, untouched)| Step::Place(bytes, untouched)),
            4 => any::<usize>().prop_map(Step::GiveBack),
            1 => any::<usize>().prop_map(Step::Retire),
        ];
        prop::collection::vec(step, 1..200)
    }

    /// Puts a block somewhere and says where; the segments that were closed leave `open`.
    fn put(layout: &mut Layout, open: &mut Vec<u64>, bytes: u64, untouched: bool) -> Result<(u64, Range<u64>), Full> {
        let mut closed = Vec::new();
        let placed = layout.place(bytes, untouched, &mut closed);
        open.retain(|number| !closed.contains(number));
        Ok(match placed? {
            Placement::Inside(number, range) => (number, range),
            Placement::Fresh { segment, block } => {
                let added = layout.add(segment, block);
                open.push(added.0);
                added
            }
        })
    }

    proptest! {
        #[test]
        fn blocks_never_overlap_and_limits_hold(steps in steps()) {
            let mut layout = Layout::new(LIMITS);
            let mut open: Vec<u64> = Vec::new();
            let mut retired: Vec<u64> = Vec::new();
            let mut blocks: Vec<(u64, Range<u64>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Place(bytes, untouched) => match put(&mut layout, &mut open, bytes, untouched) {
                        Ok((number, range)) => {
                            prop_assert!(range.end - range.start >= bytes && range.start % PAGE == 0);
                            prop_assert!(open.contains(&number) && !retired.contains(&number));
                            let overlaps = |other: &(u64, Range<u64>)| {
                                other.0 == number && other.1.start < range.end && range.start < other.1.end
                            };
                            prop_assert!(!blocks.iter().any(overlaps));
                            blocks.push((number, range));
                        }
                        Err(full) => prop_assert!(full.held + full.wanted > LIMITS.bytes_max || full.held > 0),
                    },
                    Step::GiveBack(_) | Step::Retire(_) if blocks.is_empty() => {}
                    Step::GiveBack(which) => {
                        let (number, range) = blocks.swap_remove(which % blocks.len());
                        let last = !blocks.iter().any(|(other, _)| *other == number);
                        if layout.give_back(number, range) {
                            prop_assert!(last, "a segment in use was closed");
                            open.retain(|other| *other != number);
                        } else {
                            prop_assert!(!(last && retired.contains(&number)), "a retired segment was kept");
                        }
                    }
                    Step::Retire(which) => {
                        let number = blocks[which % blocks.len()].0;
                        layout.retire(number);
                        retired.push(number);
                    }
                }
                prop_assert!(layout.held() <= LIMITS.bytes_max);
                prop_assert_eq!(layout.areas.len(), open.len());
            }
            for (number, range) in blocks {
                layout.give_back(number, range);
            }
            prop_assert!(layout.held() <= LIMITS.idle_bytes_max);
        }
    }

    #[test]
    fn what_was_given_back_is_used_again() {
        let mut layout = Layout::new(LIMITS);
        let mut open = Vec::new();
        let first = put(&mut layout, &mut open, 3 * PAGE, false).unwrap();
        let second = put(&mut layout, &mut open, 1, false).unwrap();
        assert_eq!((first.clone(), second.clone()), ((0, 0..3 * PAGE), (0, 3 * PAGE..4 * PAGE)));
        assert!(!layout.give_back(first.0, first.1.clone()));
        assert_eq!(put(&mut layout, &mut open, 2 * PAGE + 1, false), Ok(first));
    }

    #[test]
    fn a_large_block_that_must_be_untouched_never_gets_used_pages() {
        let mut layout = Layout::new(Limits { idle_bytes_max: 64 * PAGE, ..LIMITS });
        let mut open = Vec::new();
        let used = put(&mut layout, &mut open, 20 * PAGE, false).unwrap();
        layout.give_back(used.0, used.1);
        assert_eq!(layout.place(20 * PAGE, true, &mut Vec::new()), Ok(Placement::Fresh { segment: 20 * PAGE, block: 20 * PAGE }));
        assert_eq!(layout.place(18 * PAGE, false, &mut Vec::new()), Ok(Placement::Inside(0, 0..18 * PAGE)));
    }

    #[test]
    fn full_says_how_full() {
        let mut layout = Layout::new(LIMITS);
        let full = layout.place(65 * PAGE, false, &mut Vec::new());
        assert_eq!(full, Err(Full { wanted: 65 * PAGE, held: 0, bytes_max: LIMITS.bytes_max }));
        assert!(layout.place(u64::MAX, false, &mut Vec::new()).is_err());
    }
}
