//! What is printed, and how: the transcript's words, one palette, lines, escaping.

pub mod escape;
pub mod note;
pub mod palette;
pub mod stdout;
pub mod words;
