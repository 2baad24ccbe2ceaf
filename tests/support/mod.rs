//! What the tests share: a folder and a key of their own, the program, and looks at the system from
//! outside.

#![allow(dead_code)] // Each test file is a crate of its own and uses its own part of this.
#![allow(unsafe_code)] // For system calls that nobody wraps, and for what a child does before exec.

pub mod program;
#[cfg(target_os = "linux")]
pub mod refusal;
pub mod terminal;
pub mod told;
#[cfg(target_os = "linux")]
pub mod tracer;

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::unistd::{Pid, alarm, dup2_stdout, pipe2, write};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine. A wait that reaches it has failed.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A folder of the test's own with a `shared_path` in it, and so a key that nobody else uses.
pub struct Scratch {
    dir: TempDir,
    key: i32,
    _reservation: UnixListener,
}

impl Scratch {
    pub fn new() -> Self {
        // ftok(3) takes only 16 bits of the inode number, and file systems like to give out the
        // same ones: two folders at a time can well have the same key. So each reserves its own, by
        // a name that the kernel gives back when the test ends. Others are kept meanwhile, with
        // their inodes.
        let mut unfit = Vec::new();
        loop {
            let dir = TempDir::new().unwrap();
            let path = dir.path().join("shared_path");
            fs::write(&path, "").unwrap();
            // The key that ftok makes of the path with project 1, from its manual page.
            let file = fs::metadata(path).unwrap();
            let (device, inode) = (file.dev() as u32 & 0xff, file.ino() as u32 & 0xffff);
            let key = (1 << 24 | device << 16 | inode) as i32;
            let name = SocketAddr::from_abstract_name(format!("sigshm test {key:08x}")).unwrap();
            match UnixListener::bind_addr(&name) {
                Ok(reservation) if !segments().iter().any(|segment| segment.key == key) => {
                    return Self { dir, key, _reservation: reservation };
                }
                _ => unfit.push(dir),
            }
            assert!(unfit.len() < 1000, "there is no key to be had");
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("shared_path")
    }

    /// The key of `shared_path`, as it was when the folder was made.
    pub fn key(&self) -> i32 {
        self.key
    }

    /// The program, told to use this folder's `shared_path`.
    pub fn sigshm<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = sigshm();
        command.arg("--path").arg(self.path()).args(arguments);
        command
    }

    /// The program, told to use a socket. It runs in this folder, and needs no file there.
    pub fn via_socket<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = sigshm();
        command.arg("--via=socket").args(arguments);
        command.current_dir(self.dir());
        command
    }

    /// A copy of the program in this folder, which anybody may run. (The way to the program itself
    /// may be closed to others.)
    pub fn copy_for_anybody(&self) -> PathBuf {
        let copy = self.dir().join("sigshm");
        if !copy.exists() {
            fs::set_permissions(self.dir(), Permissions::from_mode(0o755)).unwrap();
            // By another process: while this one writes to the file, a child that another test
            // starts has it open for writing too, and then it cannot be run ("Text file busy").
            let mut cp = Command::new("cp");
            cp.arg(env!("CARGO_BIN_EXE_sigshm")).arg(&copy);
            assert_eq!(run(&mut cp).code, Some(0), "{cp:?}");
            fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
        }
        copy
    }

    /// The segments at this folder's key, as the kernel lists them.
    pub fn segments(&self) -> Vec<Segment> {
        segments().into_iter().filter(|segment| segment.key == self.key()).collect()
    }

    /// No segment of this folder is left, and no process that was told to use it.
    pub fn assert_nothing_left(&self) {
        wait_until("no process is left", || self.processes().is_empty());
        assert_eq!(self.segments(), [], "a segment is left");
    }

    /// The living processes that name this folder on their command line, or that run in it.
    pub fn processes(&self) -> Vec<i32> {
        let folder = self.dir().to_str().unwrap();
        let named = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let runs_in = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let is_named = String::from_utf8_lossy(&line).contains(folder);
            *pid != std::process::id() as i32 && (is_named || runs_in == self.dir())
        };
        process_ids().filter(named).collect()
    }
}

impl Drop for Scratch {
    /// A test that has failed leaves nothing behind either.
    fn drop(&mut self) {
        // Until they are gone, as one that is killed may still be creating a segment.
        let start = Instant::now();
        while !self.processes().is_empty() && start.elapsed() < TIMEOUT {
            for pid in self.processes() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(1));
        }
        for segment in self.segments() {
            remove_segment(segment.id);
        }
    }
}

/// A line of `/proc/sysvipc/shm`; see proc_sysvipc(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub key: i32,
    pub id: i32,
    pub mode: u32,
    pub size: usize,
    pub creator_pid: i32,
    pub last_pid: i32,
    pub attached: u64,
    pub owner: u32,
    pub creator: u32,
}

pub fn segments() -> Vec<Segment> {
    let list = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let segment = |line: &str| {
        let column: Vec<&str> = line.split_whitespace().collect();
        Segment {
            key: column[0].parse().unwrap(),
            id: column[1].parse().unwrap(),
            mode: u32::from_str_radix(column[2], 8).unwrap(),
            size: column[3].parse().unwrap(),
            creator_pid: column[4].parse().unwrap(),
            last_pid: column[5].parse().unwrap(),
            attached: column[6].parse().unwrap(),
            owner: column[7].parse().unwrap(),
            creator: column[9].parse().unwrap(),
        }
    };
    list.lines().skip(1).map(segment).collect()
}

pub fn remove_segment(id: i32) {
    // SAFETY: IPC_RMID does not look at its third argument.
    unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
}

/// The program itself, with an environment that does not change what it prints, no standard input,
/// and the signals as a terminal's shell leaves them. (The tests may have been started by somebody
/// who ignores some, as nohup(1) and a shell's `&` do, and the program would rightly ignore them.)
pub fn sigshm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sigshm"));
    command.env_remove("NO_COLOR").env_remove("TERM").stdin(Stdio::null());
    with_default_signals(&mut command);
    command
}

/// The command will have the signals as a terminal's shell leaves them: each with its default
/// disposition, and none blocked.
pub fn with_default_signals(command: &mut Command) {
    // SAFETY: what is called between fork and exec only calls signal(2) and sigprocmask(2), which
    // are async-signal-safe.
    unsafe { command.pre_exec(set_default_signals) };
}

/// For a process that is about to call exec(2).
fn set_default_signals() -> io::Result<()> {
    let catchable = |it: &Signal| !matches!(it, Signal::SIGKILL | Signal::SIGSTOP);
    for it in Signal::iterator().filter(catchable) {
        // SAFETY: the default handler is nobody's code.
        unsafe { signal(it, SigHandler::SigDfl) }?;
    }
    Ok(SigSet::empty().thread_set_mask()?)
}

/// The signals that end a run and are not the notification signal, as DESIGN lists them.
pub const ENDING: [Signal; 13] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGABRT,
    Signal::SIGALRM,
    Signal::SIGTERM,
    Signal::SIGUSR2,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGXCPU,
    Signal::SIGSTKFLT,
    Signal::SIGIO,
    Signal::SIGPWR,
];

/// Starts the command with both outputs captured. The child is killed and reaped if the test ends
/// before it does.
pub fn start(command: &mut Command) -> Running {
    start_into(command, Stdio::piped())
}

/// As [`start`], with another standard output. This process keeps no copy of that.
pub fn start_into(command: &mut Command, stdout: impl Into<Stdio>) -> Running {
    let child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    command.stdout(Stdio::null());
    Running { child: Some(child) }
}

/// Starts the command with a standard output that nobody reads, and that has room for so many
/// bytes: the first write after them blocks. That lasts until the reading end, which comes back, is
/// dropped.
pub fn start_with_room_for(bytes: usize, command: &mut Command) -> (Running, OwnedFd) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    // The least that there is, a page. The kernel adds a write to a page as a whole or not at all.
    let capacity = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1)).unwrap() as usize;
    let filler = vec![b'.'; capacity - bytes];
    assert_eq!(write(&writer, &filler), Ok(filler.len()));
    // SAFETY: between fork and exec this makes one system call and allocates nothing.
    unsafe { command.pre_exec(move || Ok(dup2_stdout(&writer)?)) };
    (start(command), reader)
}

/// A pipe into which nothing more fits: the end to read from, and the other.
pub fn full_pipe() -> (File, File) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let mut writer = File::from(writer);
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    // The run shares the open file description, and so O_NONBLOCK; a pipe that blocks is the harder
    // case.
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader.into(), writer)
}

/// The two ends of a connection that keeps packets apart and that has an end (SOCK_SEQPACKET).
pub fn packet_sockets() -> (UnixDatagram, OwnedFd) {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the call writes two numbers to where it is told, and `ends` has room for them.
    let made = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    assert_eq!(made, 0, "{}", io::Error::last_os_error());
    // SAFETY: the call has just opened both, and nobody else knows of them.
    let [ours, theirs] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    assert!(ours.as_raw_fd() > libc::STDERR_FILENO);
    let ours = UnixDatagram::from(ours);
    ours.set_read_timeout(Some(TIMEOUT)).unwrap();
    (ours, theirs)
}

/// Closes a socket, and waits until nobody has it open. (Another test may be starting a program,
/// which has a copy of it until it calls exec. And a write to see whether it is closed would take
/// away the error that it gets.)
pub fn close_socket(socket: impl Into<OwnedFd>) {
    let socket = File::from(socket.into());
    let inode = socket.metadata().unwrap().ino().to_string();
    drop(socket);
    let lists = ["tcp", "udp", "unix"].map(|list| format!("/proc/net/{list}"));
    wait_until("the socket is closed", || {
        let is_in = |text: String| text.split_whitespace().any(|word| word == inode);
        let text = |list: &String| fs::read_to_string(list).unwrap_or_default();
        !lists.iter().map(text).any(is_in)
    });
}

/// Runs the command to its end, which must come within [`TIMEOUT`].
pub fn run(command: &mut Command) -> Finished {
    start(command).finish()
}

pub struct Running {
    child: Option<Child>,
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.as_ref().unwrap().id() as i32)
    }

    pub fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    /// Waits for the end, and takes what was printed.
    pub fn finish(self) -> Finished {
        self.finish_within(TIMEOUT).unwrap_or_else(|why| panic!("{why}"))
    }

    /// As [`finish`](Self::finish), for a test that goes on if the end does not come in time.
    pub fn finish_within(mut self, limit: Duration) -> Result<Finished, String> {
        let pid = self.pid();
        let child = self.child.take().unwrap();
        // A thread reads, so that a full pipe cannot stop the program, and this one watches the
        // clock.
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
        receiver.recv_timeout(limit).map(Finished::new).map_err(|_| {
            let _ = kill(pid, Signal::SIGKILL);
            format!("PID {pid} has not ended (with its output closed) within {limit:?}")
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How a run ended, and what it said.
#[derive(Debug)]
pub struct Finished {
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

impl Finished {
    fn new(output: Output) -> Self {
        Self {
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
            signal: output.status.signal(),
        }
    }

    /// Standard output, which must be UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The run delivered `shown` (the message as it is printed), and said nothing else.
    pub fn assert_delivered(&self, size: usize, shown: &str) {
        assert_eq!(self.text(), transcript(listener_in(self.text()), size, shown), "{self:#?}");
        assert_eq!((self.code, self.signal), (Some(0), None), "{self:#?}");
    }

    /// The run failed with status 1 and one line on standard error that has each of `parts`.
    pub fn assert_failed_with(&self, parts: &[&str]) {
        assert_eq!((self.code, self.signal), (Some(1), None), "{self:#?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:#?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {:?}", self.stderr);
        }
    }
}

/// The colours of the transcript: the sender's, the listener's, and the listener's once the signal has
/// come.
pub const SENDER: &str = "\x1b[36m";
pub const LISTENER: &str = "\x1b[35m";
pub const RECEIVER: &str = "\x1b[33m";

/// The whole coloured transcript, as DESIGN gives it.
pub fn transcript(listener: i32, size: usize, shown: &str) -> String {
    transcript_with(Signal::SIGUSR1, listener, size, shown)
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
    registered_for(Signal::SIGUSR1, listener)
}

/// What it prints until it waits for this signal.
pub fn registered_for(signal: Signal, listener: Pid) -> String {
    format!(
        "{LISTENER}# Listening on PID={listener}\x1b[0m\n\
         {LISTENER}# Registering signal handler for {signal}\x1b[0m\n"
    )
}

/// All that `--listen` prints.
pub fn received(listener: Pid, shown: &str) -> String {
    received_with(Signal::SIGUSR1, listener, shown)
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

/// Waits for a state that the system shows but tells nobody of, and fails if it does not come.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < TIMEOUT, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The state letter of a process (R, S, T, Z, …), or `None` if there is no such process.
pub fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ").unwrap().1.chars().next()
}

/// The system call in which the process is blocked, if it is; see proc_pid_syscall(5).
pub fn blocked_in(pid: Pid) -> Option<libc::c_long> {
    let syscall = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    syscall.split(' ').next()?.parse().ok()
}

/// Whether the process is blocked in this system call.
pub fn is_blocked_in(pid: Pid, call: libc::c_long) -> bool {
    blocked_in(pid) == Some(call)
}

/// Whether the process is blocked in a write(2).
pub fn is_blocked_in_write(pid: Pid) -> bool {
    is_blocked_in(pid, libc::SYS_write)
}

/// The children of a process that have not been reaped.
pub fn children(pid: Pid) -> Vec<Pid> {
    let is_child = |child: &i32| {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        parent == Some(pid.to_string().as_str())
    };
    process_ids().filter(is_child).map(Pid::from_raw).collect()
}

fn process_ids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether there is no such process any more, not even a zombie.
pub fn is_gone(pid: Pid) -> bool {
    kill(pid, None) == Err(Errno::ESRCH)
}

/// If this process hangs, it ends after so many seconds: by SIGALRM, which kills.
pub fn end_after(seconds: u32) {
    // SAFETY: the default handler is nobody's code.
    unsafe { signal(Signal::SIGALRM, SigHandler::SigDfl) }.unwrap();
    SigSet::from(Signal::SIGALRM).thread_unblock().unwrap();
    alarm::set(seconds);
}

/// Says aloud that `what` is not tested, and why. (Not by `eprintln!`: what a test says in that way
/// is shown only if it fails.)
pub fn not_tested(what: &str, why: &str) {
    let line = format!("\nNOT TESTED, because {why}: {what}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Compiles one of the C peers and returns where it is.
pub fn compile_peer(name: &str) -> PathBuf {
    compile_peer_without(name, &[])
}

/// As [`compile_peer`], with some of its safeguards left out.
pub fn compile_peer_without(name: &str, safeguards: &[&str]) -> PathBuf {
    let switches: Vec<_> = safeguards.iter().map(|it| format!("-DWITHOUT_{it}")).collect();
    compile(name, &switches)
}

/// The command will load a library that changes what it sees of the system; see
/// `tests/peers/preload.c` for what there is.
pub fn preload(command: &mut Command, what: &str) {
    let flags = ["-shared", "-fPIC", "-pthread", &format!("-D{what}")].map(str::to_owned);
    command.env("LD_PRELOAD", compile("preload", &flags));
}

fn compile(name: &str, flags: &[String]) -> PathBuf {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name).with_extension("c");
    // Kept for the next time, under a name that is another one if the source has changed.
    let header = fs::read(source.with_file_name("message.h")).unwrap();
    let mut hasher = DefaultHasher::new();
    (fs::read(&source).unwrap(), header).hash(&mut hasher);
    let binary = format!("{name}{}-{:016x}", flags.concat(), hasher.finish());
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(binary);
    if !binary.exists() {
        // Under another name first: another test may be compiling it too.
        let unfinished = tempfile::Builder::new()
            .tempfile_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap()
            .into_temp_path();
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&unfinished)
            .args(flags)
            .arg(&source);
        let status = cc.status().expect("the tests need a C compiler, cc");
        assert!(status.success(), "{cc:?}");
        fs::rename(unfinished.keep().unwrap(), &binary).unwrap();
    }
    binary
}

/// Keeps the processors busy, with two threads for each, until it is dropped.
pub struct Busy {
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    pub fn start() -> Self {
        let processors = thread::available_parallelism().unwrap().get();
        let enough = Arc::new(AtomicBool::new(false));
        let spin = || {
            let enough = Arc::clone(&enough);
            thread::spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = std::iter::repeat_with(spin).take(2 * processors).collect();
        Self { enough, threads }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// What `/proc/PID/status` has behind this label; see proc_pid_status(5).
#[track_caller]
pub fn status(pid: Pid, label: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(label));
    value.expect(label).trim().to_owned()
}

/// One of the sets of signals there.
#[track_caller]
pub fn signals(pid: Pid, label: &str) -> u64 {
    u64::from_str_radix(&status(pid, label), 16).unwrap()
}

/// A signal in such a set.
pub const fn bit(signal: Signal) -> u64 {
    1 << (signal as u32 - 1)
}

/// SIGUSR1 in such a set.
pub const SIGUSR1: u64 = bit(Signal::SIGUSR1);

/// Whether a SIGUSR1 has been sent to the process that it has not taken yet.
#[track_caller]
pub fn is_pending(pid: Pid) -> bool {
    signals(pid, "ShdPnd:") & SIGUSR1 != 0
}

/// Sends a listener that sleeps a SIGUSR1, and waits until it has looked and sleeps again.
#[track_caller]
pub fn send_stray(listener: Pid) {
    send_stray_of(Signal::SIGUSR1, listener);
}

/// As [`send_stray`], with the signal for which it listens.
#[track_caller]
pub fn send_stray_of(signal: Signal, listener: Pid) {
    kill(listener, signal).unwrap();
    wait_until("it has looked, and waits again", || {
        signals(listener, "ShdPnd:") & bit(signal) == 0 && state(listener) == Some('S')
    });
}

/// Takes the lock on this folder's `shared_path`, as a run does.
pub fn take_lock(scratch: &Scratch) -> Flock<File> {
    let file = File::open(scratch.path()).unwrap();
    Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap()
}

/// A segment at the key that a process has created which has ended.
pub fn leave_behind(scratch: &Scratch) -> Segment {
    let key = scratch.key();
    let mut command = Command::new("true");
    let create = move || {
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
        // SAFETY: shmget takes three numbers and touches no memory.
        match unsafe { libc::shmget(key, 1024, flags) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: between fork and exec this makes one system call and allocates nothing.
    unsafe { command.pre_exec(create) };
    assert_eq!(run(&mut command).code, Some(0));
    scratch.segments().remove(0)
}
