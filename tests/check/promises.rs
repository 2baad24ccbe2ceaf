//! What a program promises: the rows of the table.

/// A row of the table.
pub struct Row {
    pub promise: Promise,
    /// Its name, here and in the lesson.
    pub name: &'static str,
    pub text: &'static str,
    /// What to look at if it is broken.
    pub look: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    Received,
    Lengths,
    ExitStatus,
    Once,
    AtOnce,
    Foreign,
    SegmentLeft,
    AfterSignal,
    ProcessLeft,
    Killed,
    Reaped,
    Handler,
    TooEarly,
    SleptThrough,
}

use Promise::*;

/// In the order of the promises.
pub const ROWS: [Row; 14] = [
    Row {
        promise: Received,
        name: "received",
        text: "The message is received in each run.",
        look: "is the listener ready, and what does it find when it looks?",
    },
    Row {
        promise: Lengths,
        name: "lengths",
        text: "Messages of 0 and 1,007 bytes are received.",
        look: "how large is what carries the message, and where does it end?",
    },
    Row {
        promise: ExitStatus,
        name: "exit status",
        text: "It is 0 if and only if it was received.",
        look: "what does the parent learn of its child's end?",
    },
    Row {
        promise: Once,
        name: "printed once",
        text: "No line comes twice in a pipe.",
        look: "what is in the buffer of standard output when the program forks?",
    },
    Row {
        promise: AtOnce,
        name: "20 at once",
        text: "Each has its own message, and none fails.",
        look: "what do two runs share, and who waits for whom?",
    },
    Row {
        promise: Foreign,
        name: "foreign segment",
        text: "A segment that is there stays as it is.",
        look: "does shmget have IPC_EXCL, and what happens if it fails?",
    },
    Row {
        promise: SegmentLeft,
        name: "segment left",
        text: "No segment is left after a run.",
        look: "who removes the segment, and when?",
    },
    Row {
        promise: AfterSignal,
        name: "after a signal",
        text: "No segment is left after TERM, INT or HUP.",
        look: "who removes the segment if a signal comes, at any moment?",
    },
    Row {
        promise: ProcessLeft,
        name: "process left",
        text: "No process and no zombie is left.",
        look: "how does the child learn that its parent has ended?",
    },
    Row {
        promise: Killed,
        name: "listener killed",
        text: "The program does not hang then.",
        look: "does every wait end if the other process is gone?",
    },
    Row {
        promise: Reaped,
        name: "child reaped",
        text: "The parent reaps its child before it ends.",
        look: "where is the waitpid?",
    },
    Row {
        promise: Handler,
        name: "handler",
        text: "The handler calls only what is safe there.",
        look: "what does signal-safety(7) list?",
    },
    Row {
        promise: TooEarly,
        name: "too early",
        text: "No signal is sent before its handler is set.",
        look: "what does the sender wait for before it sends the signal?",
    },
    Row {
        promise: SleptThrough,
        name: "slept through",
        text: "A signal just before the sleep wakes, too.",
        look: "can it come between the look and the sleep, as in pselect(2)?",
    },
];

const _: () = {
    let mut row = 0;
    while row < ROWS.len() {
        assert!(ROWS[row].promise as usize == row);
        row += 1;
    }
};

impl Promise {
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|it| it.promise)
    }
}

/// How often a promise was tried and was broken, and what was seen then.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub runs: usize,
    pub broken: usize,
    pub evidence: Option<String>,
    /// Why it says nothing about this program.
    pub not_applicable: Option<&'static str>,
    /// Why it could not be tried on this machine.
    pub not_tested: Option<&'static str>,
}
