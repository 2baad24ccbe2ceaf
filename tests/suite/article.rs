//! The C program in the article's shape, measured: what it loses, repeats and leaves behind.
//!
//! These are the reasons for what this program does differently. To see the numbers:
//! `cargo test article:: -- --nocapture`.

use crate::support::terminal::Terminal;
use crate::support::*;

#[test]
fn without_a_wait_it_loses_messages() {
    needs!(compiles_c());
    const RUNS: usize = 200;
    let scratch = Scratch::unchecked();
    let mut lost = 0;
    for _ in 0..RUNS {
        let finished = run(article(&scratch, HELLO));
        // Lost or not, the sender says that all is done and that it went well.
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        assert!(finished.text().contains("# All done."), "{finished:#?}");
        lost += usize::from(!finished.text().contains("# Received: Hello, world"));
    }
    println!("The article's program lost {lost} of {RUNS} messages.");
    assert!(lost > 0, "all of {RUNS} messages arrived");
}

#[test]
fn it_leaves_a_segment_behind_that_everybody_may_write() {
    needs!(compiles_c());
    let scratch = Scratch::unchecked();
    assert_eq!(scratch.segments(), []);
    let finished = run(article(&scratch, HELLO));
    assert_eq!(finished.code, Some(0), "{finished:#?}");

    wait_until("both processes have ended, and so are detached", || {
        let attached = |segment: &Segment| segment.attached != 0;
        scratch.processes().is_empty() && !scratch.segments().iter().any(attached)
    });
    let Segment { id, size, mode, .. } = scratch.segment();
    println!("The article's program left segment {id} behind: {size} bytes, mode {mode:o}.");
    assert_eq!((size, mode & 0o777), (1024, 0o666));
}

#[test]
fn captured_its_first_lines_appear_twice() {
    needs!(compiles_c());
    let scratch = Scratch::unchecked();
    // The pipe is full before the sender has said everything, so it waits for a reader. There is
    // none until the listener has its handler in place: this time the message cannot be lost.
    let (reader, writer) = new_pipe();
    let capacity = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    // Twice as long, because some of it stays in the program's own buffer.
    let message = "x".repeat(2 * capacity as usize + 4096);
    let sender = Program::start_into(writer, article(&scratch, &message));
    wait_until("the listener has its handler", || {
        let listener = children(sender.pid());
        listener.first().is_some_and(|&listener| has_signal(listener, "SigCgt:", SIGUSR1))
    });
    let output = thread::spawn(|| io::read_to_string(File::from(reader)).unwrap());
    wait_until("the output ends", || output.is_finished());
    assert_eq!(sender.finish().code, Some(0));
    let output = output.join().unwrap();
    assert!(output.contains("# Received: "), "the message was lost");
    let times = ["# Message size is: ", "# Creating message object.\n", "# Forking...\n"]
        .map(|line| output.matches(line).count());
    println!("Captured, the article's program says its first lines {times:?} times.");
    // The library of musl writes the first of them at once.
    assert_eq!(times, [if cfg!(target_env = "musl") { 1 } else { 2 }, 2, 2]);
}

#[test]
fn on_a_terminal_its_first_lines_appear_once() {
    needs!(compiles_c());
    let scratch = Scratch::unchecked();
    let run = Program::start_on(Terminal::new(), article(&scratch, HELLO));
    wait_until("both processes have ended", || scratch.processes().is_empty());
    let finished = run.finish();
    assert_eq!(finished.text().matches("# Forking...\r\n").count(), 1, "{finished:#?}");
}

#[test]
fn when_its_sender_fails_the_listener_spins_on_without_a_parent() {
    needs!(compiles_c());
    let scratch = Scratch::unchecked();
    // A segment that is too small for it stands in its way. It does not look at what shmget
    // returns, and writes to where no memory is.
    create_segment(scratch.key(), 8, 0o600).unwrap();
    let sender = Program::start(article(&scratch, HELLO));
    let sender_pid = sender.pid();
    let finished = sender.finish();
    assert_ne!(finished.code, Some(0), "{finished:#?}");

    let left = scratch.processes();
    assert_eq!(left.len(), 1, "{left:?}");
    let listener = Pid::from_raw(left[0]);
    assert_ne!(listener, sender_pid);
    wait_until("the listener listens", || has_signal(listener, "SigCgt:", SIGUSR1));
    // It would run until somebody kills it. A tenth of a second of processor time is far more than
    // all it does before the endless loop.
    wait_until("the listener has kept a processor busy", || {
        processor_time(listener) >= Duration::from_millis(100)
    });
    assert!(is_gone(sender_pid));
    assert_eq!(state(listener), Some('R'));
    println!("The article's program left PID {listener} behind, in its endless loop.");
}

/// The article's program, run where its `./shared_path` is this folder's, and called by a name in
/// this folder, by which its processes are found.
fn article(scratch: &Scratch, message: &str) -> Command {
    let name = scratch.dir().join("article");
    if !name.exists() {
        std::os::unix::fs::symlink(compile_peer("article"), &name).unwrap();
    }
    let mut command = Command::new(name);
    command.arg(message).current_dir(scratch.dir()).stdin(Stdio::null());
    with_default_signals(&mut command);
    command
}
