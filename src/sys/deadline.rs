//! How long a wait may last.

use std::time::{Duration, Instant};

use super::error::Error;

/// If a wait returns this long after its deadline, the process was stopped meanwhile.
const STOPPED: Duration = Duration::from_secs(1);

/// The end of a wait: its timeout, counted from when the wait began; none if it never ends.
///
/// A process that is stopped (Ctrl-Z) cannot see the time go by. So a wait that comes back more
/// than a second after its deadline begins anew. That needs no handler for SIGCONT.
#[derive(Clone, Debug)]
pub struct Deadline {
    end: Option<(Duration, Instant)>,
    /// What has not happened if it is missed.
    pub(super) what: String,
}

impl Deadline {
    /// The deadline of a wait that begins now; `what` says what has not happened if it is missed.
    pub fn after(timeout: Option<Duration>, what: &str) -> Self {
        // A timeout that is too long for an Instant is none.
        let end = timeout.and_then(|timeout| Some((timeout, Instant::now().checked_add(timeout)?)));
        Self { end, what: what.to_owned() }
    }

    /// The time that is left; `None` if the wait has no end.
    pub fn left(&self) -> Option<Duration> {
        self.end.map(|(_, at)| at.saturating_duration_since(Instant::now()))
    }

    /// Fails with [`Error::TimedOut`] if the time is up and the process was not stopped meanwhile.
    pub fn check(&mut self) -> Result<(), Error> {
        let Some((timeout, at)) = self.end else { return Ok(()) };
        let Some(late) = Instant::now().checked_duration_since(at) else { return Ok(()) };
        if late > STOPPED {
            *self = Self::after(Some(timeout), &self.what);
            return Ok(());
        }
        let (what, seconds) = (&self.what, timeout.as_secs_f64());
        let unit = if seconds == 1.0 { "second" } else { "seconds" };
        Err(Error::TimedOut(format!("{what} within {seconds} {unit}")))
    }
}
