//! Memory some time after load.

use std::time::{Duration, Instant};

use crate::document::{Launch, Settings, Side};
use crate::statistics::order::Which;
use crate::{Cancel, measures, processes};

/// How often a rest looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// A launch of each side side by side, as waiting takes no processor: the languages share no pages, so neither makes the other's
/// proportional share smaller. `load` starts a side and returns when its load has ended, `pid` says where its processes begin.
///
/// # Errors
/// Those of `load`, and that the run was cancelled.
pub fn measure<T>(
    sides: &[Side; 2],
    settings: &Settings,
    round: u32,
    cancel: &Cancel,
    mut load: impl FnMut(Which) -> Result<T, String>,
    pid: impl Fn(&T) -> u32,
) -> Result<[Launch; 2], String> {
    let rest_seconds = settings.rest_seconds.unwrap_or_default();
    let resting = [load(Which::Left)?, load(Which::Right)?];
    let until = Instant::now() + Duration::from_secs_f64(rest_seconds);
    while Instant::now() < until {
        if cancel.is_cancelled() {
            return Err("interrupted".to_owned());
        }
        std::thread::sleep(CANCEL_POLL);
    }
    Ok([Which::Left, Which::Right].map(|which| {
        let bytes = processes::memory(pid(&resting[which.index()]));
        Launch {
            side: sides[which.index()].name.clone(),
            block: settings.blocks + 1 + round / 2,
            position: round % 2 * 2 + which.index() as u32,
            began_seconds: 0.0,
            values: bytes.map(|bytes| (measures::key_after(rest_seconds), bytes as f64)).into_iter().collect(),
            warm_up: None,
            latency: None,
            void: None,
        }
    }))
}
