//! Opening files below a folder, and never outside of it.
//!
//! The kernel does the resolving: `openat2` with RESOLVE_BENEATH refuses every way out, through `..`,
//! symbolic links or a folder moved meanwhile, so there is no gap between check and use. Where the kernel
//! lacks it (before Linux 5.6, or under an old container's filter), the same rule is kept step by step.

use super::body::blocking;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Most symbolic links followed on one way, as in the kernel (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// NONBLOCK keeps a FIFO from hanging us; regular files ignore it.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Whether a call may wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// No: what the kernel does not hold in memory fails with EAGAIN.
    None,
    /// Yes: only on a thread that may block.
    Disk,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    /// Nanoseconds since the epoch; 0 for earlier times.
    pub modified_ns: u64,
    /// Change of the inode: catches tools that set the modification time back.
    changed: (i64, u64),
}

impl Version {
    fn of(stat: &Stat) -> Version {
        let ns = |seconds: i64, ns: u64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000) + ns;
        let (modified, changed) = ((stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec));
        Version {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified_ns: ns(modified.0, modified.1),
            changed,
        }
    }

    /// Whole seconds since the epoch, as HTTP tells times.
    pub fn modified_s(&self) -> u64 {
        self.modified_ns / 1_000_000_000
    }
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Opened {
    File(File, Version),
    Folder,
}

/// A folder held open: its path is resolved once, links on the way to it included.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    fd: OwnedFd,
    identity: (u64, u64),
}

impl Folder {
    pub fn open(path: &Path) -> Result<Folder, Errno> {
        let fd = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Folder { path: path.to_owned(), fd, identity: (stat.st_dev, stat.st_ino) })
    }

    /// A new folder when the path leads to another one by now (a deployment has switched a link); `None`
    /// when it still leads here, or nowhere.
    pub fn replaced(&self) -> Option<Folder> {
        let stat = rustix::fs::stat(&self.path).ok()?;
        if (stat.st_dev, stat.st_ino) == self.identity {
            return None;
        }
        Folder::open(&self.path).ok()
    }

    /// Opens what lies at a relative path without `..`; empty for the folder itself. Anything but regular
    /// files and folders counts as missing.
    pub fn open_below(&self, path: &[u8], patience: Patience) -> Result<Opened, Errno> {
        let path = OsStr::from_bytes(if path.is_empty() { b"." } else { path });
        let fd = self.resolve(path, READ, patience)?;
        let stat = rustix::fs::fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Opened::File(File::from(fd), Version::of(&stat))),
            FileType::Directory => Ok(Opened::Folder),
            _ => Err(Errno::NOENT),
        }
    }

    fn resolve(&self, path: &OsStr, flags: OFlags, patience: Patience) -> Result<OwnedFd, Errno> {
        static LACKING: AtomicBool = AtomicBool::new(false);
        if LACKING.load(Ordering::Relaxed) {
            return self.resolve_by_steps(path, flags, patience);
        }
        let mut rules = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if patience == Patience::None {
            rules |= ResolveFlags::CACHED;
        }
        // A rename elsewhere in the tree makes the kernel unsure about "..", also with EAGAIN; it is asked again.
        for _ in 0..8 {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), rules) {
                Err(Errno::AGAIN) if patience == Patience::Disk => {}
                // Linux before 5.12 does not know CACHED.
                Err(Errno::INVAL) if patience == Patience::None => return Err(Errno::AGAIN),
                Err(Errno::NOSYS) => {
                    LACKING.store(true, Ordering::Relaxed);
                    return self.resolve_by_steps(path, flags, patience);
                }
                // Also what a container's filter says that does not know the call.
                Err(Errno::PERM) => return self.resolve_by_steps(path, flags, patience),
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// What `openat2` does with RESOLVE_BENEATH, in user space: each step opens one name without following
    /// links; a link's own text is walked in the same way, and may neither begin at `/` nor climb above us.
    fn resolve_by_steps(&self, path: &OsStr, flags: OFlags, patience: Patience) -> Result<OwnedFd, Errno> {
        if patience == Patience::None {
            return Err(Errno::AGAIN);
        }
        let mut todo: Vec<Vec<u8>> = path.as_bytes().split(|&b| b == b'/').rev().map(<[u8]>::to_vec).collect();
        let mut above: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        let step = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        while let Some(name) = todo.pop() {
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    above.pop().ok_or(Errno::XDEV)?;
                    continue;
                }
                _ => {}
            }
            let here: BorrowedFd<'_> = above.last().map_or(self.fd.as_fd(), |fd| fd.as_fd());
            let name = OsStr::from_bytes(&name);
            let next = rustix::fs::openat(here, name, step, Mode::empty())?;
            let kind = FileType::from_raw_mode(rustix::fs::fstat(&next)?.st_mode);
            let last = todo.iter().all(|rest| rest.is_empty() || rest == b".");
            if kind == FileType::Symlink {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(&next, "", Vec::new())?.into_bytes();
                if target.first() == Some(&b'/') {
                    return Err(Errno::XDEV);
                }
                todo.extend(target.split(|&b| b == b'/').rev().map(<[u8]>::to_vec));
            } else if last {
                // The name may have become a link meanwhile: then this fails, with ELOOP.
                return rustix::fs::openat(here, name, flags | OFlags::NOFOLLOW, Mode::empty());
            } else if kind == FileType::Directory {
                above.push(next);
            } else {
                return Err(Errno::NOTDIR);
            }
        }
        let here: BorrowedFd<'_> = above.last().map_or(self.fd.as_fd(), |fd| fd.as_fd());
        rustix::fs::openat(here, ".", flags, Mode::empty())
    }

    /// The folder's path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens a regular file by its absolute path, wherever it lies, and says its size.
///
/// # Errors
/// What the kernel says; `InvalidInput` for what is no regular file.
pub async fn open_named(path: Vec<u8>) -> io::Result<(File, u64)> {
    match open_regular(&path, ResolveFlags::CACHED) {
        // A disk would have to be waited for, or the kernel knows too little to say.
        Err(Errno::AGAIN | Errno::INVAL | Errno::NOSYS | Errno::PERM) => {}
        opened => return regular(opened),
    }
    blocking(move || match open_regular(&path, ResolveFlags::empty()) {
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::open(OsStr::from_bytes(&path), READ, Mode::empty()),
        opened => opened,
    })
    .await
    .and_then(regular)
}

fn open_regular(path: &[u8], rules: ResolveFlags) -> Result<OwnedFd, Errno> {
    // `/proc/self/fd/3` would be ours, not the worker's.
    let rules = rules | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(rustix::fs::CWD, OsStr::from_bytes(path), READ, Mode::empty(), rules)
}

fn regular(opened: Result<OwnedFd, Errno>) -> io::Result<(File, u64)> {
    let file = opened?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok((File::from(file), u64::try_from(stat.st_size).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A tree with every kind of link, in a folder with something secret beside it.
    fn tree() -> (tempfile::TempDir, Folder) {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        std::fs::create_dir_all(root.join("sub/deep")).unwrap();
        std::fs::write(outer.path().join("secret"), "secret").unwrap();
        std::fs::write(root.join("sub/a.txt"), "a").unwrap();
        symlink("sub/a.txt", root.join("inside")).unwrap();
        symlink("../sub/../sub/a.txt", root.join("sub/inside")).unwrap();
        symlink("sub", root.join("folder")).unwrap();
        symlink("../secret", root.join("outside")).unwrap();
        symlink("sub/../../secret", root.join("around")).unwrap();
        symlink(outer.path().join("secret"), root.join("absolute")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/proc/self/root/etc/passwd", root.join("magic")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), FileType::Fifo, 0o600.into(), 0).unwrap();
        let folder = Folder::open(&root).unwrap();
        (outer, folder)
    }

    fn check(path: &str, expected: Result<bool, Errno>) {
        let (_outer, folder) = tree();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let is_file = |fd: OwnedFd| {
            let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd).unwrap().st_mode);
            kind == FileType::RegularFile
        };
        let by_kernel = folder.resolve(OsStr::new(path), flags, Patience::Disk).map(is_file);
        let by_steps = folder.resolve_by_steps(OsStr::new(path), flags, Patience::Disk).map(is_file);
        assert_eq!(by_kernel, expected, "{path} by openat2");
        assert_eq!(by_steps, expected, "{path} by steps");
    }

    #[test]
    fn files_and_links_inside_are_opened() {
        for path in ["sub/a.txt", "inside", "sub/inside", "folder/a.txt", "folder/inside", "./sub/./a.txt"] {
            check(path, Ok(true));
        }
        for path in [".", "sub", "folder", "sub/deep", "sub/deep/"] {
            check(path, Ok(false));
        }
    }

    #[test]
    fn nothing_outside_is_opened() {
        for path in ["outside", "around", "absolute", "up", "up/secret", "../secret", "magic", "sub/../../secret"] {
            check(path, Err(Errno::XDEV));
        }
        check("loop", Err(Errno::LOOP));
    }

    #[test]
    fn what_is_missing_is_missing() {
        check("none", Err(Errno::NOENT));
        check("sub/a.txt/x", Err(Errno::NOTDIR));
        let (_outer, folder) = tree();
        assert!(matches!(folder.open_below(b"fifo", Patience::Disk), Err(Errno::NOENT)));
        assert!(matches!(folder.open_below(b"", Patience::Disk), Ok(Opened::Folder)));
        assert!(matches!(folder.open_below(b"sub", Patience::Disk), Ok(Opened::Folder)));
    }

    #[tokio::test]
    async fn only_regular_files_are_opened_by_name() {
        let (outer, _folder) = tree();
        let open = |name: &str| open_named(outer.path().join(name).as_os_str().as_bytes().to_vec());
        assert_eq!(open("root/sub/a.txt").await.unwrap().1, 1);
        assert_eq!(open("root/absolute").await.unwrap().1, 6);
        for (name, kind) in [
            ("root/fifo", io::ErrorKind::InvalidInput),
            ("root/sub", io::ErrorKind::InvalidInput),
            ("root/none", io::ErrorKind::NotFound),
        ] {
            assert_eq!(open(name).await.unwrap_err().kind(), kind, "{name}");
        }
        assert!(open_named(b"/proc/self/fd/0".to_vec()).await.is_err());
    }

    #[test]
    fn a_switched_link_is_noticed() {
        let outer = tempfile::tempdir().unwrap();
        for name in ["v1", "v2"] {
            std::fs::create_dir(outer.path().join(name)).unwrap();
        }
        let current = outer.path().join("current");
        symlink("v1", &current).unwrap();
        let folder = Folder::open(&current).unwrap();
        assert!(folder.replaced().is_none());
        std::fs::remove_file(&current).unwrap();
        assert!(folder.replaced().is_none());
        symlink("v2", &current).unwrap();
        assert_ne!(folder.replaced().unwrap().identity, folder.identity);
    }
}
