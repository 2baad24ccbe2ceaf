//! Every word of an explanation: what there is to learn from a step, what comes next, and where to
//! look meanwhile.

use nix::unistd::Pid;

use crate::message::Message;
use crate::shm::Record;
use crate::signals::ANNOUNCEMENT;

/// A step of the story.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'a> {
    /// The sender has looked at its argument.
    MessageSize,
    /// The sender fills in the struct.
    CreatingMessage,
    /// The parent is about to make a second process.
    Forking,
    /// The parent has this child now.
    Forked(Pid),
    /// The listener is there.
    Listening {
        /// Its parent, if it has one that takes part.
        parent: Option<Pid>,
    },
    /// The listener has its handler in place.
    Registered,
    /// The listener has told its parent that it is ready.
    Ready,
    /// The sender is about to write the message.
    Writing {
        /// Whom it is for.
        listener: Pid,
    },
    /// The sender is about to send the signal.
    Announcing,
    /// The signal is sent.
    Announced,
    /// A signal has come, and there is no message.
    NothingThere,
    /// A signal has come, and with it a message.
    ReceivedSignal,
    /// The listener has read this message.
    Received(&'a Message),
    /// The listener has nothing left to do.
    Listened,
    /// The message has been read.
    AllDone,
    /// The segment is removed.
    Freed,
}

impl Moment<'_> {
    /// What is about to happen, for whoever may stop it.
    pub fn next(self) -> Option<&'static str> {
        Some(match self {
            Self::MessageSize => "the sender measures its argument",
            Self::CreatingMessage => "the sender fills in the struct",
            Self::Forking => "the sender forks, and the child becomes the listener",
            Self::Listening { .. } => "the listener tells its PID and registers its handler",
            Self::Registered => "the listener says that its handler is in place",
            Self::Writing { .. } => "the sender creates the segment and writes the message",
            Self::Announcing => "the sender sends the signal",
            Self::ReceivedSignal => "the listener, woken, tells of the signal",
            Self::Received(_) => "the listener tells what it has read",
            Self::AllDone => "the sender detaches and removes the segment",
            _ => return None,
        })
    }

    /// Whether the calls that lead here were made before it is told, and so belong to it. Others
    /// are told of before the calls are made.
    pub fn is_told_afterwards(self) -> bool {
        !matches!(
            self,
            Self::CreatingMessage | Self::Forking | Self::Writing { .. } | Self::Announcing
        )
    }
}

/// Whose run it is, as far as that is known yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cast {
    /// The process that sends the message.
    pub sender: Option<Pid>,
    /// The process that receives it.
    pub listener: Option<Pid>,
    /// Whether they are parent and child, and not strangers.
    pub related: bool,
    /// The segment that the message goes through.
    pub segment: Option<Record>,
}

impl Cast {
    /// What there is to learn from a step.
    pub fn lessons(&self, moment: Moment<'_>) -> &'static [&'static str] {
        match moment {
            Moment::MessageSize => &["Runs that share a file take turns: each locks it first."],
            Moment::CreatingMessage => &[
                "The text lies in the struct itself. The article keeps its address there, which \
                 would mean nothing in another process.",
            ],
            Moment::Forking => &[
                "One process calls fork, and two return from it. The pipes will tell each when the \
                 other is ready, or gone.",
            ],
            Moment::Listening { .. } => &["A signal is sent to a PID: to this one."],
            Moment::Registered => &[
                "The listener must be ready first: without a handler, SIGUSR1 would kill it (unless \
                 it is blocked, as it is here until somebody waits for it).",
            ],
            Moment::Ready => &["So the parent waits for a byte through the pipe: ready."],
            Moment::Writing { .. } => &[
                "ftok makes the key from the file's device and inode: who has the path, has the \
                 key.",
            ],
            Moment::Announcing => &["A signal carries no data. All it says is: look."],
            Moment::ReceivedSignal => &[
                "The handler has only stored a number. It may run between any two instructions, \
                 so whatever else it did could find its data half-changed. The loop does the rest.",
            ],
            Moment::Received(_) => &[
                "Each process has a map of its own memory, so the address differs from the \
                 sender's. The bytes do not: the segment is one and the same.",
            ],
            Moment::AllDone if self.related => &[
                "A parent must wait for its child: until it asks for the exit status, the kernel \
                 keeps it, and the child stays a zombie.",
                HELD_BY_THE_KERNEL,
            ],
            Moment::AllDone => &[
                "No word comes back. The kernel's record tells: the listener was the last to \
                 attach or detach, and only the sender is attached.",
                HELD_BY_THE_KERNEL,
            ],
            Moment::Forked(_)
            | Moment::Announced
            | Moment::NothingThere
            | Moment::Listened
            | Moment::Freed => &[],
        }
    }

    /// Commands for a second terminal before a step, and what they show just then.
    pub fn suggestions(&self, moment: Moment<'_>) -> Vec<(String, String)> {
        let pid = |pid: Option<Pid>| pid.map(|pid| pid.to_string()).unwrap_or_default();
        let (sender, listener) = (pid(self.sender), pid(self.listener));
        let id = self
            .segment
            .map(|record| record.id.to_string())
            .unwrap_or_default();
        let bit = format!("bit {:x}", 1u64 << (ANNOUNCEMENT as u32 - 1));
        let segments = "ipcs -m".to_owned();
        let segment = format!("ipcs -m -i {id}");
        let processes = |pids: &str| format!("ps -o pid,ppid,stat,args -p {pids}");
        let signals = |pid: &str| format!("grep ^Sig /proc/{pid}/status");
        let signal = format!("kill -USR1 {listener}");
        let shown: &[(String, &str)] = match moment {
            Moment::MessageSize => &[
                (segments, "the segments there are: none of this run"),
                (
                    format!("grep {sender} /proc/locks"),
                    "FLOCK: it is this run's turn",
                ),
            ],
            Moment::CreatingMessage => &[(
                signals(&sender),
                "SigBlk has BIT: SIGUSR1 is blocked, and comes when it is waited for",
            )],
            Moment::Forking => &[(processes(&sender), "one process, for now")],
            Moment::Listening { parent: Some(_) } => &[
                (
                    processes(&format!("{sender},{listener}")),
                    "two now, one the other's parent",
                ),
                (
                    signals(&listener),
                    "SigCgt lacks BIT: there is no handler for SIGUSR1 yet",
                ),
                (
                    signal,
                    "nothing yet: it is blocked, and stays pending (ShdPnd)",
                ),
            ],
            Moment::Listening { parent: None } => &[(
                signals(&listener),
                "SigCgt lacks BIT: there is no handler for SIGUSR1 yet",
            )],
            Moment::Registered => &[(signals(&listener), "SigCgt has BIT: the handler is there")],
            Moment::Writing { .. } => &[
                (segments, "still no segment of this run"),
                (
                    signal,
                    "the listener looks, finds no message, and goes on listening",
                ),
            ],
            Moment::Announcing => &[
                (segment, "nattch=1: the sender is attached"),
                (
                    format!("grep SYSV /proc/{sender}/maps"),
                    "where in the sender's memory",
                ),
                (signal, "the message lies there, so the listener takes it"),
            ],
            Moment::ReceivedSignal => &[
                (segment, "nattch=2: both are attached"),
                (
                    format!("grep SYSV /proc/{sender}/maps /proc/{listener}/maps"),
                    "two addresses, one segment (the same inode): rw for one, r for the other",
                ),
            ],
            Moment::Received(_) => &[(segment, "lpid: the listener was the last to attach")],
            Moment::AllDone if self.related => &[
                (segment, "nattch=1: the listener has detached"),
                (
                    processes(&listener),
                    "nothing: a child that has been reaped is gone",
                ),
            ],
            Moment::AllDone => &[(segment, "nattch=1: the listener has detached")],
            _ => &[],
        };
        shown
            .iter()
            .map(|(command, shows)| (command.clone(), shows.replace("BIT", &bit)))
            .collect()
    }
}

const HELD_BY_THE_KERNEL: &str =
    "It is the kernel that holds the segment, not a process: nobody removes it but us.";
