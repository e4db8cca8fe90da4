//! Which of a project's own files have changed, told in batches: one change for all that an editor, a formatter or git does
//! at once.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use ignore::WalkBuilder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::commands::types::walk;

/// Longest wait for that silence: what is written for ever must not hide changes for ever.
const BATCH_MAX: Duration = Duration::from_secs(2);

/// Watches the folders for as long as the receiver lives.
///
/// # Errors
/// When the kernel cannot watch, or a pattern is none, with what to do about it.
pub fn watch(roots: Vec<PathBuf>, settings: &config::Watch) -> Result<mpsc::Receiver<BTreeSet<PathBuf>>, String> {
    let (events, inbox) = channel();
    let watcher = notify::recommended_watcher(move |event| {
        // The thread below is gone when nobody wants to know any more.
        let _ = events.send(event);
    });
    let mut watched = Watched {
        watcher: watcher.map_err(explain)?,
        folders: HashSet::new(),
        folders_max: settings.folders_max,
        endings: settings.endings.clone(),
        ignored: roots.iter().map(|root| ignored(root, &settings.ignore)).collect::<Result<_, _>>()?,
    };
    let debounce = settings.debounce;
    for root in roots {
        watched.add(&root)?;
    }
    // A batch that is not taken yet grows instead of queueing behind the next.
    let (batches, receiver) = mpsc::channel(1);
    std::thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || gather(&inbox, &mut watched, debounce, &batches))
        .map_err(|error| error.to_string())?;
    Ok(receiver)
}

struct Watched {
    watcher: RecommendedWatcher,
    folders: HashSet<PathBuf>,
    folders_max: usize,
    endings: Vec<String>,
    /// What the configuration leaves out, for each root.
    ignored: Vec<Gitignore>,
}

/// The configuration's patterns, which hold below a root.
fn ignored(root: &Path, patterns: &[String]) -> Result<Gitignore, String> {
    let mut builder = GitignoreBuilder::new(root);
    for pattern in patterns {
        builder.add_line(None, pattern).map_err(|error| format!("dev.ignore: {pattern:?} is no pattern: {error}"))?;
    }
    builder.build().map_err(|error| format!("dev.ignore: {error}"))
}

impl Watched {
    /// A folder and those below it, but for what is not the project's own.
    fn add(&mut self, root: &Path) -> Result<(), String> {
        for entry in walk(root).flatten() {
            if !entry.file_type().is_some_and(|kind| kind.is_dir()) || self.folders.contains(entry.path()) {
                continue;
            }
            if self.is_ignored(entry.path(), true) {
                continue;
            }
            if self.folders.len() >= self.folders_max {
                return Err(format!(
                    "{} holds more than {} folders; name in a .gitignore or in dev.ignore what is not the project's own, \
                     or raise dev.folders_max",
                    root.display(),
                    self.folders_max
                ));
            }
            match self.watcher.watch(entry.path(), RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.folders.insert(entry.path().to_path_buf());
                }
                // It is gone again.
                Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
                Err(error) => return Err(explain(error)),
            }
        }
        Ok(())
    }

    /// By the configuration; with all that is within a folder that it leaves out.
    fn is_ignored(&self, path: &Path, folder: bool) -> bool {
        let below = self.ignored.iter().filter(|ignored| path.starts_with(ignored.path()));
        below.into_iter().any(|ignored| ignored.matched_path_or_any_parents(path, folder).is_ignore())
    }

    /// By its name: source code and configuration, but not what type checkers alone read.
    fn concerns(&self, path: &Path) -> bool {
        concerns(&self.endings, path) && !self.is_ignored(path, false)
    }
}

fn explain(error: notify::Error) -> String {
    match error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "the system watches no more files: raise fs.inotify.max_user_watches (sysctl)".to_owned()
        }
        _ => format!("files cannot be watched: {error}"),
    }
}

fn gather(
    inbox: &Receiver<notify::Result<notify::Event>>,
    watched: &mut Watched,
    debounce: Duration,
    batches: &mpsc::Sender<BTreeSet<PathBuf>>,
) {
    let mut changed = BTreeSet::new();
    let mut begun = Instant::now();
    loop {
        let next = if changed.is_empty() {
            inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            inbox.recv_timeout(debounce)
        };
        match next {
            Ok(Ok(event)) => {
                if changed.is_empty() {
                    begun = Instant::now();
                }
                take(event, watched, &mut changed);
                if begun.elapsed() < BATCH_MAX {
                    continue;
                }
            }
            Ok(Err(error)) => tracing::warn!("{}", explain(error)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let batch: BTreeSet<PathBuf> = std::mem::take(&mut changed).into_iter().filter(|path| is_own(path)).collect();
        if batch.is_empty() {
            continue;
        }
        match batches.try_send(batch) {
            Ok(()) => {}
            Err(TrySendError::Full(batch)) => (changed, begun) = (batch, Instant::now()),
            Err(TrySendError::Closed(_)) => return,
        }
    }
}

fn take(event: notify::Event, watched: &mut Watched, changed: &mut BTreeSet<PathBuf>) {
    let matters = match event.kind {
        EventKind::Create(_) | EventKind::Remove(_) => true,
        // Times and permissions are no content.
        EventKind::Modify(what) => !matches!(what, ModifyKind::Metadata(_)),
        _ => false,
    };
    if !matters {
        return;
    }
    for path in event.paths {
        if path.is_dir() {
            // What is in it already has come without being seen.
            if let Err(why) = watched.add(&path) {
                tracing::warn!("{why}");
            }
            let files = walk(&path).flatten().filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()));
            changed.extend(files.map(|entry| entry.into_path()).filter(|path| watched.concerns(path)));
        } else if watched.concerns(&path) {
            watched.folders.remove(&path);
            changed.insert(path);
        } else {
            watched.folders.remove(&path);
        }
    }
}

fn concerns(endings: &[String], path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    let for_checkers = name.ends_with(".d.ts") || name.ends_with(".d.mts") || name.ends_with(".d.cts") || name.contains(".d.py.");
    let source = endings.iter().any(|known| known == end) && !for_checkers && !name.starts_with('.');
    source || name == ".env" || name == "bireme.toml"
}

/// Whether git would not ignore it. What is gone was somebody's own, as far as anyone can tell.
fn is_own(path: &Path) -> bool {
    let Some(folder) = path.parent().filter(|_| path.exists()) else { return true };
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut siblings = WalkBuilder::new(folder);
    siblings.max_depth(Some(1)).require_git(false).hidden(!hidden);
    siblings.build().flatten().any(|entry| entry.path() == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn settings(more: &str) -> config::Watch {
        let text = format!("[service.a]\nnode = \"a.js\"\n[dev]\n{more}");
        config::Settings::from_toml(&text, Path::new("/srv")).unwrap().watch
    }

    #[test]
    fn sources_count_and_what_only_checkers_read_does_not() {
        for (name, expected) in [
            ("a.py", true),
            ("a.mjs", true),
            ("bireme.toml", true),
            (".env", true),
            ("a.pyi", false),
            ("a.d.ts", false),
            ("model.d.py.ts", false),
            ("db.sqlite", false),
            (".a.py.swp", false),
            ("a.py~", false),
        ] {
            assert_eq!(concerns(&settings("").endings, Path::new(name)), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn changes_come_in_batches_without_what_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::write(root.join(".gitignore"), "generated.py\n").unwrap();
        fs::create_dir_all(root.join("node_modules/x")).unwrap();
        let mut batches = watch(vec![root.clone()], &settings("")).unwrap();
        fs::write(root.join("generated.py"), "1").unwrap();
        fs::write(root.join("node_modules/x/a.js"), "1").unwrap();
        fs::write(root.join("a.py"), "1").unwrap();
        fs::create_dir(root.join("new")).unwrap();
        fs::write(root.join("new/b.js"), "1").unwrap();
        let mut seen = BTreeSet::new();
        while seen.len() < 2 {
            let batch = tokio::time::timeout(Duration::from_secs(30), batches.recv()).await.expect("a batch in time");
            seen.extend(batch.unwrap());
        }
        assert_eq!(seen, BTreeSet::from([root.join("a.py"), root.join("new/b.js")]));
        fs::remove_file(root.join("a.py")).unwrap();
        let batch = tokio::time::timeout(Duration::from_secs(30), batches.recv()).await.expect("a batch in time");
        assert_eq!(batch, Some(BTreeSet::from([root.join("a.py")])));
    }

    #[tokio::test]
    async fn the_configuration_says_what_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("made/deep")).unwrap();
        let said = settings("ignore = [\"made/\", \"*.tmp.tera\"]\nendings = [\"tera\"]\ndebounce = \"1ms\"\nfolders_max = 1\n");
        let mut batches = watch(vec![root.clone()], &said).unwrap();
        for name in ["made/deep/a.tera", "b.tmp.tera", "c.py", "d.tera"] {
            fs::write(root.join(name), "1").unwrap();
        }
        let batch = tokio::time::timeout(Duration::from_secs(30), batches.recv()).await.expect("a batch in time");
        assert_eq!(batch, Some(BTreeSet::from([root.join("d.tera")])));
        fs::create_dir(root.join("more")).unwrap();
        let refused = watch(vec![root.clone()], &said).unwrap_err();
        assert!(refused.contains("more than 1 folders") && refused.contains("dev.folders_max"), "{refused}");
        assert!(watch(vec![root], &settings("ignore = [\"a{\"]\n")).is_err());
    }

    #[tokio::test]
    async fn changes_are_told_after_as_long_a_silence_as_the_configuration_says() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mut batches = watch(vec![root.clone()], &settings("debounce = \"400ms\"\n")).unwrap();
        let written = Instant::now();
        fs::write(root.join("a.py"), "1").unwrap();
        let batch = tokio::time::timeout(Duration::from_secs(30), batches.recv()).await.expect("a batch in time");
        assert_eq!(batch, Some(BTreeSet::from([root.join("a.py")])));
        assert!(written.elapsed() >= Duration::from_millis(400));
    }
}
