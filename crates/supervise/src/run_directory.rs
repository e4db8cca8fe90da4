//! The private folder in which a running front keeps its sockets.
//!
//! `$XDG_RUNTIME_DIR/bireme/<pid>` or `/tmp/bireme-<uid>/<pid>`, mode 0700. A lock that the kernel drops with the
//! process tells the folders of running fronts from those left behind.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

/// Longest path of a Unix socket, in bytes (`sun_path` without its final zero, unix(7)).
pub const SOCKET_PATH_MAX: usize = 107;

/// Longest name that is put into the folder: what a socket's path must leave room for.
const NAME_MAX: usize = "/calls-4294967295.sock".len();

/// A folder for this front's sockets; removed when dropped.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    _lock: File,
}

impl RunDirectory {
    /// Makes the folder below `base` (the default when `None`) and removes those of fronts that are gone.
    ///
    /// # Errors
    /// When the base is somebody else's, is open to others, is not writable or is too long for a socket's path.
    pub fn create(base: Option<&Path>) -> io::Result<RunDirectory> {
        let base = match base {
            Some(base) => base.to_path_buf(),
            None => default_base(),
        };
        make_private(&base)?;
        // Held while folders come and go, so that a cleaning front never meets one that is not locked yet.
        let base_lock = lock_folder(&base, FlockOperation::LockExclusive)
            .map_err(|e| annotate(e, format!("cannot lock the runtime folder {}", base.display())))?;
        remove_stale(&base);
        let pid = std::process::id();
        for attempt in 0u32..100 {
            let name = if attempt == 0 { pid.to_string() } else { format!("{pid}-{attempt}") };
            let path = base.join(name);
            let length = path.as_os_str().as_bytes().len() + NAME_MAX;
            if length > SOCKET_PATH_MAX {
                let text = format!(
                    "the runtime folder {} is too long for a Unix socket ({length} bytes, at most {SOCKET_PATH_MAX}): set a shorter runtime_dir",
                    base.display()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                // A front with the same process id in another container that shares this folder.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(annotate(e, format!("cannot create {}", path.display()))),
            }
            let lock = lock_folder(&path, FlockOperation::NonBlockingLockExclusive)
                .map_err(|e| annotate(e, format!("cannot lock {}", path.display())))?;
            drop(base_lock);
            return Ok(RunDirectory { path, _lock: lock });
        }
        let text = format!("no free name for process {pid} in {}", base.display());
        Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folders of all fronts of this user that run now, below `base` (the default when `None`).
    pub fn running(base: Option<&Path>) -> Vec<PathBuf> {
        let base = base.map_or_else(default_base, Path::to_path_buf);
        let mut found: Vec<PathBuf> = folders(&base).filter(|path| !is_stale(path)).collect();
        found.sort();
        found
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        // Nobody is left to tell; what stays behind is removed by the next start.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// `$XDG_RUNTIME_DIR/bireme` when that folder is usable, otherwise `/tmp/bireme-<uid>`.
fn default_base() -> PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        let ours = fs::metadata(&runtime).is_ok_and(|m| m.is_dir() && m.uid() == uid);
        let base = runtime.join("bireme");
        // Room for the process id, a suffix and the socket's name.
        if ours && runtime.is_absolute() && base.as_os_str().len() + 16 + NAME_MAX <= SOCKET_PATH_MAX {
            return base;
        }
    }
    PathBuf::from(format!("/tmp/bireme-{uid}"))
}

/// Makes `path` a folder that is ours alone, or says why it is not.
fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(annotate(e, format!("cannot create the runtime folder {}", path.display()))),
    }
    // Not followed: a link in /tmp may be anybody's.
    let found = fs::symlink_metadata(path)?;
    let wrong = if !found.is_dir() {
        "is not a folder"
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        "belongs to another user"
    } else if found.mode() & 0o022 != 0 {
        "is writable by others"
    } else {
        return Ok(());
    };
    let text = format!("the runtime folder {} {wrong}: remove it or set runtime_dir", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

fn lock_folder(path: &Path, how: FlockOperation) -> io::Result<File> {
    let folder = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    flock(&folder, how)?;
    Ok(File::from(folder))
}

fn folders(base: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        name.first().is_some_and(u8::is_ascii_digit) && name.iter().all(|b| b.is_ascii_digit() || *b == b'-')
    })
}

fn is_stale(path: &Path) -> bool {
    lock_folder(path, FlockOperation::NonBlockingLockExclusive).is_ok()
}

fn remove_stale(base: &Path) {
    for path in folders(base).filter(|path| is_stale(path)) {
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!("cannot remove {}, which a dead front left behind: {error}", path.display());
        }
    }
}

fn annotate(error: io::Error, what: String) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn base(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("bireme-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn is_private_and_goes_away() {
        let base = base("private");
        let directory = RunDirectory::create(Some(&base)).unwrap();
        let path = directory.path().to_path_buf();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(RunDirectory::running(Some(&base)), std::slice::from_ref(&path));
        drop(directory);
        assert!(!path.exists());
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn removes_what_dead_fronts_left_and_spares_the_living() {
        let base = base("stale");
        let living = RunDirectory::create(Some(&base)).unwrap();
        fs::create_dir(base.join("4242")).unwrap();
        fs::write(base.join("4242/link.sock"), "").unwrap();
        fs::create_dir(base.join("notes")).unwrap();
        let second = RunDirectory::create(Some(&base)).unwrap();
        assert!(!base.join("4242").exists());
        assert!(base.join("notes").exists(), "only folders named by a process id are ours");
        assert!(living.path().exists());
        assert_ne!(living.path(), second.path());
        drop((living, second));
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn refuses_a_folder_open_to_others_and_one_too_long() {
        let open = base("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let error = RunDirectory::create(Some(&open)).unwrap_err();
        assert!(error.to_string().contains("writable by others"), "{error}");
        fs::remove_dir_all(open).unwrap();

        let long = base(&"x".repeat(100));
        let error = RunDirectory::create(Some(&long)).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
        fs::remove_dir_all(long).unwrap();
    }
}
