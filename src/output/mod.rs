//! What is printed, and how: the transcript's words, one palette, lines, escaping.
//!
//! - [`words`]: what the transcript says at each step.
//! - [`palette`]: which role has which colour.
//! - [`stdout`]: lines on standard output, one write(2) each.
//! - [`note`]: lines on standard error.
//! - [`escape`]: bytes from outside, made safe to print.

pub mod escape;
pub mod note;
pub mod palette;
pub mod stdout;
pub mod words;
