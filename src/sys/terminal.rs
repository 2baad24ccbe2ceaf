//! The keyboard of a terminal.

use std::io::stdin;

use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// While it is there, Enter ends a line and the interrupt character sends SIGINT, if standard input
/// is a terminal. That is how terminals usually are; but whoever has used one before may have left
/// it in another mode (`stty -icrnl`, `stty raw`). Dropping it restores that mode; see termios(3).
#[derive(Debug)]
pub struct Keyboard(Option<Termios>); // the mode to restore, if it was changed

impl Keyboard {
    /// Changes the mode of the terminal, if it is not the usual one.
    pub fn usual() -> Self {
        let Ok(before) = tcgetattr(stdin()) else { return Self(None) };
        let mut usual = before.clone();
        usual.input_flags.remove(InputFlags::IGNCR | InputFlags::INLCR);
        usual.input_flags.insert(InputFlags::ICRNL);
        usual.local_flags.insert(LocalFlags::ISIG);
        if usual == before {
            return Self(None);
        }
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &usual);
        Self(Some(before))
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, before);
        }
    }
}
