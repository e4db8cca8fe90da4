//! Frames that a worker pays no credit for, and has not read.

use std::collections::VecDeque;
use std::ops::Range;

/// What may wait of them on one link, in bytes. A worker reads them as they come, also while its application is busy
/// elsewhere; one that leaves so many lying is stuck.
pub(crate) const UNREAD_BYTES_MAX: u64 = 64 << 20;

/// Where they are among all bytes that go to the link, counted from its beginning.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    spans: VecDeque<Range<u64>>,
    bytes: u64,
}

impl Unread {
    /// Notes a frame; says how many bytes wait, of all that lies behind `written`.
    pub(crate) fn add(&mut self, frame: Range<u64>, written: u64) -> u64 {
        while let Some(first) = self.spans.front_mut().filter(|first| first.start < written) {
            let left = first.end.min(written);
            self.bytes -= left - first.start;
            first.start = left;
            if first.is_empty() {
                self.spans.pop_front();
            }
        }
        self.bytes += frame.end - frame.start;
        match self.spans.back_mut() {
            Some(last) if last.end == frame.start => last.end = frame.end,
            _ => self.spans.push_back(frame),
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_been_written_counts_no_more_whatever_lies_between() {
        let mut unread = Unread::default();
        assert_eq!(unread.add(0..10, 0), 10);
        assert_eq!(unread.add(10..30, 0), 30);
        assert_eq!(unread.add(100..150, 5), 75);
        assert_eq!(unread.add(150..151, 120), 31);
        assert_eq!(unread.add(200..201, 200), 1);
        assert_eq!((unread.spans.len(), unread.spans.front()), (1, Some(&(200..201))));
    }
}
