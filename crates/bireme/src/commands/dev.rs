//! `bireme dev`: what [`super::serve`] does beside serving when the application is being written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::Settings;
use supervise::Plan;
use tokio::sync::mpsc;

use super::types::Types;
use crate::{Stop, load, watch};

/// The files that are being worked on.
pub struct Project {
    changes: mpsc::Receiver<BTreeSet<PathBuf>>,
    /// Whose they are.
    pub plan: Plan,
}

impl Project {
    /// Watches the folders that the configuration names, or else its own and those of the services.
    pub fn new(settings: &Settings, plan: Plan) -> Result<Project, Stop> {
        let mut roots = settings.watch.folders.clone();
        if roots.is_empty() {
            roots.push(load::home(settings)?);
            roots.extend(plan.services.iter().flat_map(|service| &service.folders).cloned());
        }
        roots.iter_mut().for_each(|root| *root = root.canonicalize().unwrap_or_else(|_| root.clone()));
        roots.sort();
        // What is below another is watched with it.
        roots.dedup_by(|inner, outer| inner.starts_with(outer));
        let project = Project { changes: watch::watch(roots, &settings.watch).map_err(Stop::Failed)?, plan };
        project.write_types(settings);
        Ok(project)
    }

    /// The next batch of changed files; never comes when nothing is watched.
    pub async fn changed(project: &mut Option<Project>) -> Option<BTreeSet<PathBuf>> {
        match project {
            Some(project) => project.changes.recv().await,
            None => std::future::pending().await,
        }
    }

    /// What changed files ask for: `None` is nothing, `Some(None)` a reload of everything.
    pub fn concerned(&self, settings: &Settings, paths: &BTreeSet<PathBuf>) -> Option<Option<BTreeSet<Arc<str>>>> {
        let file = settings.file.as_deref().and_then(|file| file.canonicalize().ok());
        if paths.iter().any(|path| file.as_ref() == Some(path) || path.file_name() == Some(".env".as_ref())) {
            return Some(None);
        }
        let concerned: BTreeSet<Arc<str>> = paths.iter().flat_map(|path| self.plan.holders(path)).collect();
        (!concerned.is_empty()).then_some(Some(concerned))
    }

    /// Brings the type checkers' files up to date; what cannot be understood will be said by whoever runs it.
    pub fn write_types(&self, settings: &Settings) {
        if !settings.watch.types {
            return;
        }
        let written = Types::of(settings, None).and_then(|types| {
            let stale = types.stale();
            types.write(&stale)?;
            Ok(stale)
        });
        let name = |path: &PathBuf| path.file_name().unwrap_or(Path::new("?").as_os_str()).to_string_lossy().into_owned();
        match written {
            Ok(stale) if !stale.is_empty() => {
                let names: Vec<String> = stale.iter().map(name).collect();
                tracing::info!("types written: {}", names.join(", "));
            }
            Ok(_) => {}
            Err(Stop::Usage(why) | Stop::Failed(why)) => tracing::warn!("types were not written: {why}"),
        }
    }
}
