//! Memory some time after load.

use std::time::{Duration, Instant};

use crate::document::{Launch, Settings, Side};
use crate::pace::Pace;
use crate::statistics::order::Which;
use crate::{Cancel, measures, processes};

/// How often a rest looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// Seconds of load before a rest, where a launch itself would load for longer.
const LOAD_SECONDS_MAX: f64 = 5.0;

/// Seconds of load before a rest.
pub(crate) fn load_seconds(settings: &Settings) -> f64 {
    settings.launch_seconds.min(LOAD_SECONDS_MAX)
}

/// About what all rests of a comparison take, in seconds, each after `load_seconds` of load.
pub(crate) fn seconds(settings: &Settings, load_seconds: f64) -> f64 {
    let each = settings.rest_seconds.map_or(0.0, |seconds| seconds + load_seconds);
    f64::from(measures::rounds(settings.effort)) * each
}

/// In as many rounds as the effort has, if there is to be a rest: a launch of each side side by side, as waiting takes no processor. The
/// languages share no pages, so neither makes the other's proportional share smaller. `load` starts a side and returns when its load has
/// ended, `pid` says where its processes begin.
///
/// # Errors
/// Those of `load`, and that the run was cancelled.
pub(crate) fn measure<T>(
    pace: &mut Pace<'_>,
    sides: &[Side; 2],
    settings: &Settings,
    cancel: &Cancel,
    mut load: impl FnMut(Which) -> Result<T, String>,
    pid: impl Fn(&T) -> u32,
) -> Result<Vec<Launch>, String> {
    let Some(rest_seconds) = settings.rest_seconds else { return Ok(Vec::new()) };
    let mut launches = Vec::new();
    for round in 0..measures::rounds(settings.effort) {
        pace.say(&format!("resting for {rest_seconds} s"));
        let began_seconds = pace.elapsed();
        let memory = after_rest(rest_seconds, cancel, &mut load, &pid)?;
        launches.extend([Which::Left, Which::Right].map(|which| Launch {
            side: sides[which.index()].name.clone(),
            block: settings.blocks + 1 + round / 2,
            position: round % 2 * 2 + which.index() as u32,
            began_seconds,
            values: memory[which.index()].map(|bytes| (measures::key_after(rest_seconds), bytes as f64)).into_iter().collect(),
            warm_up: None,
            latency: None,
            void: None,
        }));
    }
    Ok(launches)
}

/// Bytes of each side, where they can be read.
fn after_rest<T>(
    rest_seconds: f64,
    cancel: &Cancel,
    load: &mut impl FnMut(Which) -> Result<T, String>,
    pid: &impl Fn(&T) -> u32,
) -> Result<[Option<u64>; 2], String> {
    let resting = [load(Which::Left)?, load(Which::Right)?];
    let until = Instant::now() + Duration::from_secs_f64(rest_seconds);
    while Instant::now() < until {
        if cancel.is_cancelled() {
            return Err("interrupted".to_owned());
        }
        std::thread::sleep(CANCEL_POLL);
    }
    Ok([Which::Left, Which::Right].map(|which| processes::memory(pid(&resting[which.index()]))))
}
