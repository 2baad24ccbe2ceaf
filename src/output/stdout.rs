//! Standard output, a line at a time.
//!
//! Two processes print into one standard output. So that they never tear each other's lines, each
//! line is one write(2). And so that nothing is printed twice, no line waits in a buffer, which
//! `fork` would copy (as that of printf(3) does).

use std::io;

use anyhow::Result;
use nix::errno::Errno;
use nix::unistd::write;

use super::palette::{Line, Role, paint};
use crate::sys::trace::Call;
use crate::sys::{Error, fd};

/// No explanation is printed beyond this column.
const WIDTH: usize = 80;

/// What sets explanations apart from the transcript, beside their colour.
pub const INDENT: &str = "    ";

/// Standard output, with or without colours.
#[derive(Clone, Copy, Debug)]
pub struct Stdout {
    pub colored: bool,
}

impl Stdout {
    /// The line as it is printed: in its colour, and with its end.
    pub fn line(self, role: Role, text: &str) -> String {
        paint(role, text, self.colored) + "\n"
    }

    /// An explanation as it is printed: a mark and then text, on as many lines as it takes. `end`
    /// stands at the right margin, or on a line of its own. It is dim, as each `…` is.
    pub fn paragraph(self, mark: (Role, &str), text: (Role, &str), end: &str) -> String {
        let ((mark_role, mark), (role, text)) = (mark, text);
        let width = INDENT.len() + mark.chars().count();
        let room = WIDTH - width;
        let lines = wrap(text, room);
        let left = room - lines.last().map_or(0, |last| last.chars().count());
        let next_line = format!("\n{:width$}", "");
        let gap = if left > end.len() { " ".repeat(left - end.len()) } else { next_line.clone() };
        let paint = |role, text: &str| paint(role, text, self.colored);
        let end = if end.is_empty() { String::new() } else { gap + &paint(Role::Aside, end) };
        let margin = paint(mark_role, &format!("{INDENT}{mark}"));
        let lines: Vec<_> = lines.iter().map(|line| paint(role, line)).collect();
        // What has a colour of its own has no `…`.
        let text = lines.join(&next_line).replace('…', &paint(Role::Aside, "…"));
        format!("{margin}{text}{end}\n")
    }

    /// A lesson as it is printed.
    pub fn lesson(self, mark: &str, text: &str) -> String {
        self.paragraph((Role::Lesson, mark), (Role::Lesson, text), "")
    }

    /// A picture as it is printed.
    pub fn block(self, lines: Vec<Line>) -> String {
        let lines = lines.into_iter();
        lines.map(|(role, line)| self.line(role, &format!("{INDENT}{line}"))).collect()
    }

    /// Prints lines, each in one write(2). If the reader has closed its end, the story goes on
    /// without one. Otherwise it fails as write(2) does.
    pub fn print(self, lines: &str) -> Result<()> {
        lines.split_inclusive('\n').try_for_each(print_line)
    }
}

fn print_line(line: &str) -> Result<()> {
    let (stdout, mut rest) = (io::stdout(), line.as_bytes());
    while !rest.is_empty() {
        match write(&stdout, rest) {
            Ok(0) => return Err(Error::call(Call::Write(1, rest.len()), Errno::EIO).into()),
            Ok(written) => rest = &rest[written..],
            // A pipe says EPIPE, and a socket may say any of these.
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED | Errno::ENOTCONN) => break,
            // The same for a terminal that is closed.
            Err(Errno::EIO) if fd::has_no_reader(&stdout) => break,
            Err(Errno::EINTR) => {}
            // Somebody has made it non-blocking, and there is no room.
            Err(Errno::EAGAIN)
                if matches!(fd::wait_writable(&stdout, None), Ok(_) | Err(Errno::EINTR)) => {}
            Err(errno) => return Err(Error::call(Call::Write(1, rest.len()), errno).into()),
        }
    }
    Ok(())
}

/// Breaks `text` into lines of at most `room` characters, at a space where there is one. (Only that
/// space is dropped; a path may have several in a row.)
fn wrap(text: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let (mut lines, mut rest) = (Vec::new(), letters.as_slice());
    while rest.len() > room {
        let space = rest[..=room].iter().rposition(|&letter| letter == ' ').filter(|&at| at > 0);
        let (line, after) = rest.split_at(space.unwrap_or(room));
        lines.push(line.iter().collect());
        rest = if space.is_some() { &after[1..] } else { after };
    }
    lines.push(rest.iter().collect());
    lines
}
