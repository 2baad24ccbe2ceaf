//! The one palette: which role has which colour.

use owo_colors::{OwoColorize, Style};

/// Whose line it is, or what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Parent, // the sender's process before and after its role
    Listener,
    Sender,
    Receiver, // the listener, once the signal has come
    Lesson,
    Detail, // a system call, or what stands around a picture
    Number, // in the picture of the bytes
    Aside,  // a manual page's name, or the `…` of what is left out
}

/// A line, and its role.
pub type Line = (Role, String);

/// The line between the start of its colour and the reset. A line without a colour has neither.
pub fn paint(role: Role, line: &str, colored: bool) -> String {
    let style = match role {
        Role::Parent | Role::Lesson | Role::Detail => Style::new(),
        Role::Listener => Style::new().magenta(),
        Role::Sender => Style::new().cyan(),
        Role::Receiver => Style::new().yellow(),
        Role::Number => Style::new().green(),
        Role::Aside => Style::new().dimmed(), // which a projector hardly shows
    };
    if colored { line.style(style).to_string() } else { line.to_owned() }
}
