use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mainstem_runtime::service::wall_clock;

/// Where nobody sees a line change, one is written so often.
const PLAIN_EVERY: Duration = Duration::from_secs(3);

/// Tells on stderr what happens now: on one line that changes, or where there is no terminal, on a
/// line every few seconds.
pub(super) struct Progress {
    terminal: bool,
    last: Mutex<Option<(SystemTime, String)>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: Mutex::default() }
    }

    pub(super) fn say(&self, text: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = wall_clock();
        let mut out = std::io::stderr().lock();
        // Nothing is lost when nobody reads it.
        let _ = if self.terminal {
            write!(out, "\r\x1b[K{text}").and_then(|()| out.flush())
        } else {
            let due = last.as_ref().is_none_or(|(at, before)| {
                *before != text && now.duration_since(*at).is_ok_and(|since| since >= PLAIN_EVERY)
            });
            if !due {
                return;
            }
            writeln!(out, "{text}")
        };
        *last = Some((now, text.to_owned()));
    }

    /// Clears the line.
    pub(super) fn end(&self) {
        if self.terminal
            && self.last.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
        {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}
