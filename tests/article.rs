//! The C program in the article's shape, measured: what it loses, repeats and leaves behind.
//!
//! These are the reasons for what this program does differently. To see the numbers:
//! `cargo test article:: -- --nocapture`.

use crate::support::*;
use rexpect::session::spawn_command;

#[test]
fn without_a_wait_it_loses_messages() {
    const RUNS: usize = 200;
    let scratch = Scratch::unchecked();
    let mut lost = 0;
    for _ in 0..RUNS {
        let finished = run(article(&scratch, "Hello, world"));
        // Lost or not, the sender says that all is done and that it went well.
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        assert!(
            finished.text().contains("# All done."),
            "the sender did not finish: {finished:#?}"
        );
        if !finished.text().contains("# Received: Hello, world") {
            lost += 1;
        }
    }
    println!("The article's program lost {lost} of {RUNS} messages.");
    assert!(lost > 0, "all of {RUNS} messages arrived");
}

#[test]
fn it_leaves_a_segment_behind_that_everybody_may_write() {
    let scratch = Scratch::unchecked();
    assert_eq!(scratch.segments(), []);
    let finished = run(article(&scratch, "Hello, world"));
    assert_eq!(finished.code, Some(0), "{finished:#?}");

    wait_until("both processes have ended, and so are detached", || {
        let attached = |segment: &Segment| segment.attached != 0;
        scratch.processes().is_empty() && !scratch.segments().iter().any(attached)
    });
    let left = scratch.segments();
    assert_eq!(left.len(), 1, "{left:?}");
    println!(
        "The article's program left segment {} behind: {} bytes, mode {:o}.",
        left[0].id, left[0].size, left[0].mode
    );
    assert_eq!((left[0].size, left[0].mode & 0o777), (1024, 0o666));
}

#[test]
fn captured_its_first_lines_appear_twice() {
    let scratch = Scratch::unchecked();
    let output = captured_delivery(&scratch);
    assert!(output.contains("# Received: "), "the message was lost");
    for line in ["# Message size is: ", "# Creating message object.\n", "# Forking...\n"] {
        let times = output.matches(line).count();
        println!("Captured, the article's program says {line:?} {times} times.");
        assert_eq!(times, 2, "{line:?}");
    }
}

#[test]
fn on_a_terminal_its_first_lines_appear_once() {
    let scratch = Scratch::unchecked();
    let command = article(&scratch, "Hello, world");
    let mut session = spawn_command(command, Some(TIMEOUT.as_millis() as u64)).unwrap();
    let output = session.exp_eof().unwrap();
    session.process().wait().unwrap();
    assert_eq!(output.matches("# Forking...\r\n").count(), 1, "{output:?}");
}

#[test]
fn when_its_sender_fails_the_listener_spins_on_without_a_parent() {
    let scratch = Scratch::unchecked();
    // A segment that is too small for it stands in its way. It does not look at what shmget
    // returns, and writes to where no memory is.
    // SAFETY: shmget takes three numbers and touches no memory of ours.
    let id = unsafe { libc::shmget(scratch.key(), 8, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
    assert_ne!(id, -1, "{}", std::io::Error::last_os_error());

    let mut sender = Program::start(article(&scratch, "Hello, world"));
    let sender_pid = sender.pid();
    let mut ended = None;
    wait_until("the sender has ended", || {
        ended = sender.child.try_wait().unwrap();
        ended.is_some()
    });
    assert!(!ended.unwrap().success(), "the sender did not fail");

    wait_until("the listener listens", || {
        scratch.processes().iter().any(|&pid| catches_sigusr1(pid))
    });
    let left = scratch.processes();
    assert_eq!(left.len(), 1, "{left:?}");
    let listener = Pid::from_raw(left[0]);
    assert_ne!(listener, sender_pid);
    // Its parent has ended, and nobody else sends it a signal: it runs until somebody kills it. A
    // tenth of a second of processor time is far more than all it does before the endless loop.
    wait_until("the listener has kept a processor busy", || {
        ticks(listener) >= ticks_per_second() / 10
    });
    assert!(is_gone(sender_pid));
    assert_eq!(state(listener), Some('R'));
    println!("The article's program left PID {listener} behind, in its endless loop.");
}

/// The article's program, run where its `./shared_path` is this folder's. So that its processes can
/// be found by this folder's name, that name is what they are called.
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

/// What the program prints into a pipe when its message arrives.
///
/// The pipe is full before the sender has said everything, so it waits for a reader. There is none
/// until the listener has its handler in place: this time the message cannot be lost.
fn captured_delivery(scratch: &Scratch) -> String {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let capacity = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    // Twice as long, because some of it stays in the program's own buffer.
    let message = "x".repeat(2 * capacity as usize + 4096);
    let mut command = article(scratch, &message);
    let mut sender = Reaped(command.stdout(writer).spawn().unwrap());
    // With it goes this process's copy of the writing end, so that the end can be read.
    drop(command);

    let pid = Pid::from_raw(sender.0.id() as i32);
    wait_until("the listener has its handler", || {
        let listener = children(pid);
        listener.first().is_some_and(|listener| catches_sigusr1(listener.as_raw()))
    });
    let (tell, hear) = mpsc::channel();
    thread::spawn(move || {
        let mut output = String::new();
        let read = File::from(reader).read_to_string(&mut output);
        tell.send(read.map(|_| output))
    });
    let output = hear.recv_timeout(TIMEOUT).expect("the output ends");
    assert!(sender.0.wait().unwrap().success());
    output.unwrap()
}

/// A child that does not outlive a test that fails.
struct Reaped(std::process::Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // If it has been reaped already, this does nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the process has a handler for SIGUSR1; see proc_pid_status(5).
fn catches_sigusr1(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .map(|mask| u64::from_str_radix(mask.trim(), 16).unwrap());
    mask.is_some_and(|mask| mask & (1 << (libc::SIGUSR1 - 1)) != 0)
}

/// How much processor time the process has used, in ticks of the clock; see proc_pid_stat(5).
fn ticks(pid: Pid) -> i64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let user = rest.split(' ').nth(11).unwrap();
    user.parse().unwrap()
}

fn ticks_per_second() -> i64 {
    // SAFETY: sysconf takes a number and touches no memory of ours.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) }
}
