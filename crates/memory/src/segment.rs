//! One segment: a memfd and its mapping. The only place of this crate that touches memory by address.
//!
//! A segment is sealed against shrinking before its address is told to anybody, so a reader's access can't end in
//! SIGBUS. It has no name in any file system: the kernel takes it back when the last process has let go of it, however
//! that process ended.

use rustix::fs::{FileType, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;

/// What a segment can't lose any more.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);
/// Ids are exact as JavaScript numbers.
const ID_BITS: u32 = 52;

/// Where another process finds a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The process that made it.
    pub pid: u32,
    /// The descriptor it has there.
    pub descriptor: u32,
    /// A random number that is part of its name, so that neither a descriptor nor a process id that was used again can
    /// be taken for it. Less than 2^52.
    pub id: u64,
    /// Its size.
    pub bytes: u64,
}

/// Where bytes lie in this process, for a language's own arrays. Not null.
#[derive(Clone, Copy, Debug)]
pub struct Pointer(NonNull<u8>);

impl Pointer {
    /// As C has it.
    pub fn as_ptr(self) -> *mut u8 {
        self.0.as_ptr()
    }
}

/// A mapped segment, our own or another process's. Unmapped when dropped.
#[derive(Debug)]
pub struct Segment {
    address: Address,
    start: NonNull<u8>,
    bytes: usize,
    /// Keeps the name under /proc alive for others; ours alone.
    _file: Option<OwnedFd>,
}

// SAFETY: the mapping stays where it is until the segment is dropped, and no method makes a Rust reference into it: bytes
// are copied in and out by address. What processes write at the same time is between them; that is what sharing means.
#[allow(unsafe_code)]
unsafe impl Send for Segment {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Segment {}

impl Segment {
    /// Makes a segment of zeros.
    ///
    /// # Errors
    /// What the kernel says: no descriptors, no memory, no address space.
    pub fn create(bytes: u64) -> io::Result<Segment> {
        let id = random_id()?;
        let name = format!("bireme-{id:x}");
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Kernels before 6.3 know no NOEXEC_SEAL; some later ones insist on it.
        let file = match rustix::fs::memfd_create(&name, flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => rustix::fs::memfd_create(&name, flags)?,
            made => made?,
        };
        rustix::fs::ftruncate(&file, bytes)?;
        rustix::fs::fcntl_add_seals(&file, SEALS)?;
        let start = map(&file, bytes)?;
        let descriptor = u32::try_from(file.as_raw_fd()).unwrap_or_default();
        let address = Address { pid: std::process::id(), descriptor, id, bytes };
        Ok(Segment { address, start, bytes: usize::try_from(bytes).unwrap_or_default(), _file: Some(file) })
    }

    /// Maps another process's segment.
    ///
    /// # Errors
    /// `NotFound` when that process has ended or closed it; `PermissionDenied` when it may not be looked at; whatever else
    /// the kernel says.
    pub fn open(address: Address) -> io::Result<Segment> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the segment is gone");
        let path = format!("/proc/{}/fd/{}", address.pid, address.descriptor);
        let name = format!("/memfd:bireme-{:x} (deleted)", address.id);
        // Looked at before it is opened, because to open what else it may be can have effects.
        if rustix::fs::readlink(&path, Vec::new())?.to_bytes() != name.as_bytes() {
            return Err(gone());
        }
        let file = rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
        let opened = rustix::fs::readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new())?;
        let status = rustix::fs::fstat(&file)?;
        let is_file = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
        let sealed = || rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
        let same_size = u64::try_from(status.st_size).is_ok_and(|size| size == address.bytes);
        if opened.to_bytes() != name.as_bytes() || !is_file || !same_size || !sealed() {
            return Err(gone());
        }
        let start = map(&file, address.bytes)?;
        Ok(Segment { address, start, bytes: usize::try_from(address.bytes).unwrap_or_default(), _file: None })
    }

    /// Where others find it.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Where `length` bytes from `offset` lie; `None` unless they are all inside.
    pub fn pointer(&self, offset: u64, length: u64) -> Option<Pointer> {
        let end = offset.checked_add(length)?;
        let offset = usize::try_from(offset).ok()?;
        if end > self.bytes as u64 {
            return None;
        }
        // SAFETY: `offset` is at most `bytes`, the length of the mapping that begins at `start`.
        #[allow(unsafe_code)]
        Some(Pointer(unsafe { self.start.add(offset) }))
    }

    /// Copies bytes into it. False, and nothing is copied, unless they have room.
    #[must_use]
    pub fn write(&self, offset: u64, bytes: &[u8]) -> bool {
        let Some(to) = self.pointer(offset, bytes.len() as u64) else { return false };
        // SAFETY: `pointer` has checked that the destination is mapped; `bytes` is no part of it, since no Rust reference
        // into a mapping is ever made here, and a language's array that is part of it is at least not freed meanwhile;
        // `copy` allows for an overlap.
        #[allow(unsafe_code)]
        unsafe {
            std::ptr::copy(bytes.as_ptr(), to.as_ptr(), bytes.len());
        }
        true
    }

    /// Fills part of it with zeros. False, and nothing is written, unless that lies inside.
    #[must_use]
    pub fn clear(&self, offset: u64, length: u64) -> bool {
        let (Some(to), Ok(length)) = (self.pointer(offset, length), usize::try_from(length)) else { return false };
        // SAFETY: `pointer` has checked that all of it is mapped.
        #[allow(unsafe_code)]
        unsafe {
            std::ptr::write_bytes(to.as_ptr(), 0, length);
        }
        true
    }

    /// Copies bytes out of it. `None` unless they lie inside.
    pub fn read(&self, offset: u64, length: u64) -> Option<Vec<u8>> {
        let from = self.pointer(offset, length)?;
        let length = usize::try_from(length).ok()?;
        let mut bytes = Vec::with_capacity(length);
        // SAFETY: `pointer` has checked that the source is mapped; the destination is `length` bytes of a new allocation,
        // all of which are initialized before its length says so.
        #[allow(unsafe_code)]
        unsafe {
            std::ptr::copy_nonoverlapping(from.as_ptr(), bytes.as_mut_ptr(), length);
            bytes.set_len(length);
        }
        Some(bytes)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: this mapping is ours, and every pointer into it is kept only as long as something that owns the segment.
        #[allow(unsafe_code)]
        // It fails for a mapping that does not exist only.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast::<c_void>(), self.bytes) };
    }
}

fn map(file: impl AsFd, bytes: u64) -> io::Result<NonNull<u8>> {
    let length = usize::try_from(bytes).map_err(|_| Errno::NOMEM)?;
    // SAFETY: the kernel chooses an address range that nothing else uses.
    #[allow(unsafe_code)]
    let start =
        unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)? };
    NonNull::new(start.cast::<u8>()).ok_or_else(|| Errno::NOMEM.into())
}

fn random_id() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes) >> (u64::BITS - ID_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_show_the_same_bytes() {
        let ours = Segment::create(8192).unwrap();
        let theirs = Segment::open(ours.address()).unwrap();
        assert!(ours.write(4095, b"seen"));
        assert_eq!(theirs.read(4095, 4).unwrap(), b"seen");
        assert!(theirs.clear(4096, 2));
        assert_eq!(ours.read(4095, 4).unwrap(), b"s\0\0n");
    }

    #[test]
    fn nothing_outside_is_touched() {
        let segment = Segment::create(4096).unwrap();
        assert!(!segment.write(4090, b"too long"));
        assert!(!segment.clear(u64::MAX, 2));
        assert_eq!(segment.read(4096, 1), None);
        assert_eq!(segment.read(4096, 0), Some(Vec::new()));
    }

    #[test]
    fn it_cannot_shrink() {
        let segment = Segment::create(4096).unwrap();
        let address = segment.address();
        let path = format!("/proc/self/fd/{}", address.descriptor);
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        assert_eq!(file.set_len(0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn another_segment_is_never_taken_for_it() {
        let segment = Segment::create(4096).unwrap();
        let address = segment.address();
        let other = Address { id: address.id ^ 1, ..address };
        assert_eq!(Segment::open(other).unwrap_err().kind(), io::ErrorKind::NotFound);
        let size = Address { bytes: 8192, ..address };
        assert_eq!(Segment::open(size).unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(segment);
        // Its descriptor now belongs to something else, or to nothing.
        let _reused = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(Segment::open(address).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
