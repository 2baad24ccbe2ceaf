//! What a run prints when it goes well, with its colours; [`plain`] takes them away.

use super::*;

/// The colours of the transcript: the sender's, the listener's, and the listener's once the signal
/// has come.
pub const SENDER: &str = "\x1b[36m";
pub const LISTENER: &str = "\x1b[35m";
pub const RECEIVER: &str = "\x1b[33m";

/// The whole coloured transcript.
pub fn transcript(listener: i32, size: usize, shown: &str) -> String {
    transcript_with(SIGUSR1, listener, size, shown)
}

/// The transcript of a run with this notification signal.
pub fn transcript_with(signal: Signal, listener: i32, size: usize, shown: &str) -> String {
    let number = signal as i32;
    format!(
        "# Message size is: {size}\n\
         # Creating message object.\n\
         # Forking...\n\
         {LISTENER}# Listening on PID={listener}\x1b[0m\n\
         {LISTENER}# Registering signal handler for {signal}\x1b[0m\n\
         {SENDER}# Writing message to shared memory a new message.\x1b[0m\n\
         {SENDER}\tid=1\x1b[0m\n\
         {SENDER}\ttext:{shown}.\x1b[0m\n\
         {RECEIVER}# PID={listener} received signal {number}\x1b[0m\n\
         {RECEIVER}# Received: {shown}\x1b[0m\n\
         # All done. Freeing memory.\n"
    )
}

/// The whole coloured transcript of a run through a socket.
pub fn transcript_via_socket(listener: i32, size: usize, shown: &str) -> String {
    format!(
        "# Message size is: {size}\n\
         # Creating message object.\n\
         # Forking...\n\
         {LISTENER}# Listening on PID={listener}\x1b[0m\n\
         {LISTENER}# Waiting for a message on a Unix socket\x1b[0m\n\
         {SENDER}# Sending a new message through the socket.\x1b[0m\n\
         {SENDER}\tid=1\x1b[0m\n\
         {SENDER}\ttext:{shown}.\x1b[0m\n\
         {RECEIVER}# Received: {shown}\x1b[0m\n\
         # All done.\n"
    )
}

/// What `--listen` prints until it waits.
pub fn registered(listener: Pid) -> String {
    registered_for(SIGUSR1, listener)
}

fn registered_for(signal: Signal, listener: Pid) -> String {
    format!(
        "{LISTENER}# Listening on PID={listener}\x1b[0m\n\
         {LISTENER}# Registering signal handler for {signal}\x1b[0m\n"
    )
}

/// All that `--listen` prints.
pub fn received(listener: Pid, shown: &str) -> String {
    received_with(SIGUSR1, listener, shown)
}

/// All that it prints if this is the notification signal.
pub fn received_with(signal: Signal, listener: Pid, shown: &str) -> String {
    let number = signal as i32;
    registered_for(signal, listener)
        + &format!(
            "{RECEIVER}# PID={listener} received signal {number}\x1b[0m\n\
             {RECEIVER}# Received: {shown}\x1b[0m\n"
        )
}

/// All that `--to` prints.
pub fn sent(size: usize, shown: &str) -> String {
    format!(
        "# Message size is: {size}\n\
         # Creating message object.\n\
         {SENDER}# Writing message to shared memory a new message.\x1b[0m\n\
         {SENDER}\tid=1\x1b[0m\n\
         {SENDER}\ttext:{shown}.\x1b[0m\n\
         # All done. Freeing memory.\n"
    )
}

/// The PID in the line `# Listening on PID=…`.
pub fn listener_in(transcript: &str) -> i32 {
    let (_, rest) = transcript.split_once("# Listening on PID=").expect("there is a listener");
    let digits = rest.split(|character: char| !character.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap()
}

/// The text without its colours.
pub fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').unwrap().1)
}
