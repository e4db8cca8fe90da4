//! Two links of one process, each the other's peer, with real memory: what is lent, looked at, returned and reclaimed.

use memory::{AllocateError, Limits, LinkMemory, Pool, Violation};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const MIB: u64 = 1 << 20;

/// A lender and a reader that pass RETURN and FORGET to each other when told to.
struct Pair {
    pool: Pool,
    lender: LinkMemory,
    reader: LinkMemory,
    woken: Arc<AtomicUsize>,
}

fn pair() -> Pair {
    let pool = Pool::new(Limits { bytes_max: 16 * MIB, segment_bytes: 4 * MIB, idle_bytes_max: 4 * MIB });
    let woken = Arc::new(AtomicUsize::new(0));
    let bell = Arc::clone(&woken);
    let lender = LinkMemory::new(pool.clone(), || {});
    let reader = LinkMemory::new(Pool::new(Limits::for_bytes(MIB)), move || {
        bell.fetch_add(1, Ordering::Relaxed);
    });
    Pair { pool, lender, reader, woken }
}

impl Pair {
    fn settle(&self) {
        if let Some(payload) = self.reader.returns() {
            self.lender.on_return(&payload).unwrap();
        }
        if let Some(payload) = self.lender.forgets() {
            self.reader.on_forget(&payload).unwrap();
        }
    }

    fn all(view: &memory::View) -> Vec<u8> {
        view.read(0, view.bytes()).unwrap()
    }

    fn send(&self, bytes: &[u8]) -> memory::View {
        let block = self.pool.copy(bytes).unwrap();
        let reference = self.lender.lend(&block, 0, bytes.len() as u64, false).unwrap();
        self.reader.borrow(reference).unwrap()
    }
}

#[test]
fn memory_is_not_used_again_while_it_is_looked_at() {
    let pair = pair();
    let view = pair.send(&[1; 70_000]);
    let others: Vec<_> = (0..20).map(|n| pair.send(&[n; 70_000])).collect();
    assert_eq!(Pair::all(&view), [1; 70_000]);
    let place = view.pointer(0, 70_000).unwrap().as_ptr();
    drop(view);
    drop(others);
    assert_eq!(pair.woken.load(Ordering::Relaxed), 1, "woken once for all that waits");
    pair.settle();
    assert_eq!(pair.lender.lent_count(), 0);
    assert_eq!(pair.send(&[2; 70_000]).pointer(0, 1).unwrap().as_ptr(), place);
}

#[test]
fn both_sides_see_what_is_written_to_a_shared_block() {
    let pair = pair();
    let block = pair.pool.allocate(100).unwrap();
    let reference = pair.lender.lend(&block, 10, 20, true).unwrap();
    let view = pair.reader.borrow(reference).unwrap();
    assert!(view.is_shared() && view.is_from(&pair.reader) && !view.is_from(&pair.lender));
    assert_eq!(Pair::all(&view), [0; 20]);
    let (home, offset) = pair.lender.home(view.lease(), 5, 15).unwrap();
    assert!(Arc::ptr_eq(&home, &block) && offset == 15);
    assert!(pair.lender.home(view.lease(), 5, 16).is_none());
    assert!(pair.lender.home(view.lease() + 1, 0, 0).is_none());
}

#[test]
fn a_new_shared_block_is_zero_where_others_have_been() {
    let pair = pair();
    drop(pair.send(&[7; 100_000]));
    pair.settle();
    let block = pair.pool.allocate(100_000).unwrap();
    let reference = pair.lender.lend(&block, 0, 100_000, true).unwrap();
    assert_eq!(Pair::all(&pair.reader.borrow(reference).unwrap()), [0; 100_000]);
}

#[test]
fn what_a_closed_link_leaves_behind_is_never_used_again() {
    let pair = pair();
    let view = pair.send(&[1; 70_000]);
    let held = pair.pool.held();
    pair.lender.close();
    assert_eq!(pair.pool.held(), held - 4 * MIB, "the lender has let go of it");
    let link = LinkMemory::new(pair.pool.clone(), || {});
    let kept: Vec<_> = (0..40).map(|_| pair.pool.copy(&[2; 70_000]).unwrap()).collect();
    assert!(link.lend(&kept[0], 0, 1, false).is_some());
    assert_eq!(Pair::all(&view), [1; 70_000], "and the reader has it still");
    pair.reader.close();
    assert_eq!(Pair::all(&view), [1; 70_000]);
    drop(view);
    assert_eq!(pair.reader.returns(), None, "nobody is there to be told");
}

#[test]
fn a_reader_forgets_segments_that_are_no_more() {
    let pair = pair();
    let large = pair.send(&vec![3; 8 << 20]);
    assert_eq!(pair.reader.mapped_count(), 1);
    drop(large);
    pair.settle();
    assert_eq!((pair.pool.held(), pair.reader.mapped_count()), (0, 0), "more than may lie idle");
}

#[test]
fn full_is_an_error_that_says_what_to_do() {
    let pair = pair();
    let _most = pair.pool.allocate(12 * MIB).unwrap();
    let error = pair.pool.allocate(5 * MIB).err().unwrap();
    assert!(matches!(error, AllocateError::Full(_)));
    assert!(error.to_string().contains("raise shared_bytes_max in [calls]"), "{error}");
}

#[test]
fn what_a_peer_sends_is_not_believed() {
    let pair = pair();
    let block = pair.pool.copy(&[1; 5000]).unwrap();
    let reference = pair.lender.lend(&block, 0, 5000, false).unwrap();
    let outside = memory::Reference { offset: u64::MAX - 10, ..reference };
    assert!(pair.reader.borrow(outside).is_err());
    let outside = memory::Reference { bytes: 5 * MIB, ..reference };
    assert!(pair.reader.borrow(outside).is_err());
    let mut gone = reference;
    gone.address.id ^= 1;
    assert!(pair.reader.borrow(gone).is_err());
    assert!(pair.lender.lend(&block, 4999, 2, false).is_none());
    assert_eq!(pair.lender.on_return(&[1, 2, 3]), Err(Violation("a RETURN that is not whole numbers")));
    assert_eq!(pair.lender.on_return(&[9; 4]), Err(Violation("a RETURN of a lease that is not open")));
    assert!(pair.reader.on_forget(&[0; 9]).is_err());
}

#[test]
fn the_other_side_can_try_a_sample() {
    let pair = pair();
    let sample = pair.lender.sample().unwrap();
    assert!(pair.reader.can_open(sample));
    assert!(!pair.reader.can_open(memory::Address { pid: sample.pid + 1, ..sample }));
    assert!(!pair.lender.can_open(memory::Address { descriptor: 0, ..sample }));
}
