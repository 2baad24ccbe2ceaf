//! The keyboard of a terminal.

use std::io::stdin;

use nix::sys::termios::SpecialCharacterIndices::{VMIN, VTIME};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// While it is there, Enter ends a line and the interrupt character sends SIGINT, if standard input
/// is a terminal. That is how terminals usually are, but the program before may have left it in
/// another mode (`stty -icrnl`, `stty raw`). Dropping this restores that mode; see termios(3).
#[derive(Debug)]
pub struct Keyboard(Option<Termios>); // the mode to restore, if it was changed

impl Keyboard {
    /// Changes the mode of the terminal, if it is not the usual one.
    pub fn usual() -> Self {
        let mut keyboard = Self(None);
        keyboard.set();
        keyboard
    }

    /// Does so again: a shell that has stopped this program (Ctrl-Z) sets a mode of its own.
    pub fn set(&mut self) {
        let Ok(now) = tcgetattr(stdin()) else { return };
        let mut usual = now.clone();
        usual.input_flags.remove(InputFlags::IGNCR | InputFlags::INLCR);
        usual.input_flags.insert(InputFlags::ICRNL);
        usual.local_flags.insert(LocalFlags::ISIG);
        if !usual.local_flags.contains(LocalFlags::ICANON) {
            // Each byte can be read at once.
            (usual.control_chars[VMIN as usize], usual.control_chars[VTIME as usize]) = (1, 0);
        }
        if usual != now && tcsetattr(stdin(), SetArg::TCSANOW, &usual).is_ok() {
            self.0.get_or_insert(now);
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, before);
        }
    }
}
