//! A terminal of the test's own: what is shown on it, what is typed, and how it is set.

use super::*;
#[cfg(target_os = "linux")]
use nix::pty::Winsize;
use nix::pty::openpty;
use nix::sys::termios::{FlowArg, SetArg, Termios, tcflow, tcsetattr};
use nix::unistd::{dup2_stdout, setsid};
use std::sync::Mutex;

/// The two ends of a terminal.
pub struct Terminal {
    user: File,
    program: OwnedFd,
    shown: Mutex<Vec<u8>>,
}

impl Terminal {
    pub fn new() -> Self {
        let ends = openpty(None, None).unwrap();
        [&ends.master, &ends.slave].into_iter().for_each(close_on_exec);
        fcntl(&ends.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        Self { user: ends.master.into(), program: ends.slave, shown: Mutex::default() }
    }

    /// How it is set; see termios(3).
    pub fn settings(&self) -> Termios {
        // SAFETY: the struct is made of integers, for which zeros are valid. (Some C libraries
        // leave those that the kernel does not know as they are.)
        let mut settings = unsafe { mem::zeroed() };
        // SAFETY: the call writes one such struct.
        Errno::result(unsafe { libc::tcgetattr(self.program.as_raw_fd(), &mut settings) }).unwrap();
        settings.into()
    }

    pub fn set(&self, change: impl Fn(&mut Termios)) {
        let mut settings = self.settings();
        change(&mut settings);
        tcsetattr(&self.program, SetArg::TCSANOW, &settings).unwrap();
    }

    /// Its window has this size from now on.
    #[cfg(target_os = "linux")] // where the lesson is tested
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the call reads one such struct.
        let set = unsafe { libc::ioctl(self.user.as_raw_fd(), libc::TIOCSWINSZ as _, &size) };
        Errno::result(set).unwrap();
    }

    /// From now on it takes no output. (Stopped in this way, and not by Ctrl-S, it does not go on
    /// when Ctrl-C is pressed.)
    pub fn stop(&self) {
        tcflow(&self.program, FlowArg::TCOOFF).unwrap();
    }

    /// It takes output again.
    pub fn go_on(&self) {
        tcflow(&self.program, FlowArg::TCOON).unwrap();
    }

    pub fn press(&mut self, keys: &str) {
        self.user.write_all(keys.as_bytes()).unwrap();
    }

    /// What was shown until now.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// The same, byte by byte. (There is room for little that has not been read.)
    pub fn bytes(&self) -> Vec<u8> {
        let (mut bytes, mut shown) = ([0; 4096], self.shown.lock().unwrap());
        // There is something to read, or there is nothing yet.
        while let Ok(length @ 1..) = (&self.user).read(&mut bytes) {
            shown.extend(&bytes[..length]);
        }
        shown.clone()
    }

    #[track_caller]
    pub fn until_shown(&self, text: &str, times: usize) {
        wait_until(text, || self.shown().matches(text).count() >= times);
    }

    /// Makes it the standard output of the run, whatever that is already.
    pub fn becomes_stdout_of(&self, command: &mut Command) {
        let end = self.program.try_clone().unwrap();
        command.in_child(move || dup2_stdout(&end));
    }

    /// Makes it the terminal of the run, from which Ctrl-C comes.
    pub fn becomes_terminal_of(&self, command: &mut Command) {
        let end = || self.program.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end());
        command.in_child(|| {
            setsid()?;
            // SAFETY: the call takes three numbers.
            Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY as _, 0) }).map(drop)
        });
    }
}
