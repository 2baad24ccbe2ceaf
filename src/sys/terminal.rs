//! The keyboard of a terminal.

use std::io::stdin;

use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// While it is there, Enter ends a line and the interrupt character sends SIGINT, if standard input
/// is a terminal. That is how terminals usually are; but whoever has used one before may have left
/// it in another mode (`stty -icrnl`, `stty raw`). Dropping it restores that mode; see termios(3).
#[derive(Debug)]
pub struct Keyboard {
    before: Option<Termios>,
}

impl Keyboard {
    /// Changes the mode of the terminal, if it is not the usual one.
    pub fn usual() -> Self {
        let usual = |mode: &Termios| {
            let mut mode = mode.clone();
            mode.input_flags.remove(InputFlags::IGNCR | InputFlags::INLCR);
            mode.input_flags.insert(InputFlags::ICRNL);
            mode.local_flags.insert(LocalFlags::ISIG);
            mode
        };
        let before = tcgetattr(stdin()).ok().filter(|mode| usual(mode) != *mode);
        if let Some(mode) = &before {
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, &usual(mode));
        }
        Self { before }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        if let Some(mode) = &self.before {
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, mode);
        }
    }
}
