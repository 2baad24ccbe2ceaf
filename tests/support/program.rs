//! The program, started, watched and ended.

use super::terminal::Terminal;
use super::*;
use nix::sys::stat::{Mode, umask};

/// The environment variable that names another program to test: one that was built with `--cfg
/// portable`, as on macOS and the BSDs.
const PORTABLE: &str = "PORTABLE_SIGSHM";

/// The program to test.
pub fn program() -> PathBuf {
    env::var_os(PORTABLE).map_or(env!("CARGO_BIN_EXE_sigshm").into(), PathBuf::from)
}

/// Whether it uses what only Linux has, such as `/proc`.
pub fn uses_linux() -> bool {
    cfg!(target_os = "linux") && env::var_os(PORTABLE).is_none()
}

/// The same. If not, it is said aloud that the test, or what it is about to do, is not done.
pub fn needs_linux(what: &str) -> bool {
    let uses_linux = uses_linux();
    if !uses_linux {
        not_tested(what, "the program does without what only Linux has");
    }
    uses_linux
}

/// The program itself, with an environment that does not change what it prints, no standard input,
/// and the signals as a terminal's shell leaves them. (The tests may have been started by somebody
/// who ignores some, as nohup(1) and a shell's `&` do, and the program would rightly ignore them.)
pub fn sigshm() -> Command {
    sigshm_from(program())
}

/// The same, from this file.
pub fn sigshm_from(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_remove("NO_COLOR")
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("TERM")
        .stdin(Stdio::null());
    with_default_signals(&mut command);
    command
}

/// The program, told to use this path.
pub fn sigshm_at<S: AsRef<OsStr>>(
    path: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = sigshm();
    command.arg("--path").arg(path).args(arguments);
    command
}

/// The program with its arguments, for another program that starts it.
pub fn whole(command: &Command) -> impl Iterator<Item = &OsStr> {
    iter::once(command.get_program()).chain(command.get_args())
}

/// What a child does to itself before it becomes the program.
pub trait InChild {
    /// `work` runs in the child, between fork and exec. It may only make system calls: it must not
    /// allocate, lock, or panic.
    fn in_child<W>(&mut self, work: W) -> &mut Self
    where
        W: FnMut() -> nix::Result<()> + Send + Sync + 'static;
}

impl InChild for Command {
    fn in_child<W>(&mut self, mut work: W) -> &mut Self
    where
        W: FnMut() -> nix::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: what the tests do here are system calls, which are async-signal-safe.
        unsafe { self.pre_exec(move || Ok(work()?)) }
    }
}

/// Runs before `main`, and so before each test.
#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static BEFORE_MAIN: extern "C" fn() = forget_the_starter;

/// Whoever starts the tests leaves more to them than signals. What they start gets no descriptor
/// but the standard ones, makes files as usual, leaves no core file, loads no other libraries, and
/// speaks English.
extern "C" fn forget_the_starter() {
    for inherited in 3..1024 {
        // SAFETY: fcntl takes numbers here.
        unsafe { libc::fcntl(inherited, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    umask(Mode::from_bits_truncate(0o022));
    setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap();
    // Ignored, it would take from us how each of them has ended.
    set(SIGCHLD, SigHandler::SigDfl).unwrap();
    for name in ["LD_PRELOAD", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES"] {
        // SAFETY: there is no other thread yet.
        unsafe { env::remove_var(name) };
    }
    // The program cuts a long path (a Mac's TMPDIR is one), and escapes a strange one.
    let is_plain = |it: &str| it.len() <= 20 && it.is_ascii() && !it.contains(['"', '\'', '\\']);
    if !env::temp_dir().to_str().is_some_and(is_plain) {
        // SAFETY: the same.
        unsafe { env::set_var("TMPDIR", "/tmp") };
    }
}

/// The command will have the signals as a terminal's shell leaves them: each with its default
/// disposition, and none blocked.
pub fn with_default_signals(command: &mut Command) {
    static AS_A_SHELL_LEAVES_THEM: LazyLock<bool> = LazyLock::new(|| {
        // SIGPIPE is ignored by each program in Rust, which sets it back for what it starts.
        Signal::iterator().all(|it| it == SIGPIPE || !is_ignored(it))
            && SigSet::thread_get_mask().unwrap() == SigSet::empty()
    });
    // With something to do in the child, it would be a fork of the whole test process each time,
    // and not the cheaper vfork(2).
    if *AS_A_SHELL_LEAVES_THEM {
        return;
    }
    command.in_child(set_default_signals);
}

/// The same for the calling process. It may be called between fork and exec.
pub fn set_default_signals() -> nix::Result<()> {
    let catchable = |it: &Signal| !matches!(it, SIGKILL | SIGSTOP);
    Signal::iterator().filter(catchable).try_for_each(|it| set(it, SigHandler::SigDfl))?;
    SigSet::empty().thread_set_mask()
}

/// Whether this process ignores the signal.
fn is_ignored(it: Signal) -> bool {
    // SAFETY: without a new action it only writes the old one, for which zeros are valid.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        libc::sigaction(it as i32, ptr::null(), &mut action);
        action.sa_sigaction == libc::SIG_IGN
    }
}

/// Sets the disposition of a signal to the default, or to be ignored.
pub fn set(it: Signal, disposition: SigHandler) -> nix::Result<()> {
    assert!(!matches!(disposition, SigHandler::Handler(_) | SigHandler::SigAction(_)));
    // SAFETY: neither is anybody's code.
    unsafe { signal(it, disposition) }.map(drop)
}

/// Runs the command to its end, which must come within [`TIMEOUT`].
#[track_caller]
pub fn run(command: impl BorrowMut<Command>) -> Finished {
    Program::start(command).finish()
}

/// Standard output and standard error of a program. They are files, not pipes: they can be read at
/// any moment, and nobody need read them. (They are not open here, where many programs run at once
/// and the limit of open files may be low.)
pub struct Captured {
    stdout: TempPath,
    stderr: TempPath,
}

impl Captured {
    pub fn of(command: &mut Command) -> Self {
        let [(out, stdout), (err, stderr)] =
            [(); 2].map(|()| NamedTempFile::new().unwrap().into_parts());
        command.stdout(out).stderr(err);
        Self { stdout, stderr }
    }

    pub fn stdout(&self) -> Vec<u8> {
        fs::read(&self.stdout).unwrap()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }
}

/// A program whose outputs can be read while it runs. It is killed and reaped if the test ends
/// before it does.
pub struct Program {
    pub child: Child,
    captured: Captured,
    terminal: Option<Terminal>,
    entered: usize,
}

impl Program {
    pub fn start(mut command: impl BorrowMut<Command>) -> Self {
        let command = command.borrow_mut();
        let captured = Captured::of(command);
        Self { child: command.spawn().unwrap(), captured, terminal: None, entered: 0 }
    }

    /// As [`start`](Self::start), with another standard output. This process keeps no copy of that.
    pub fn start_into(stdout: impl Into<Stdio>, mut command: impl BorrowMut<Command>) -> Self {
        let command = command.borrow_mut();
        let captured = Captured::of(command);
        let child = command.stdout(stdout).spawn().unwrap();
        command.stdout(Stdio::null());
        Self { child, captured, terminal: None, entered: 0 }
    }

    /// As [`start`](Self::start), at this terminal: from there comes its input, and there is shown
    /// what it prints, on standard error too.
    pub fn start_on(terminal: Terminal, mut command: impl BorrowMut<Command>) -> Self {
        let command = command.borrow_mut();
        let captured = Captured::of(command);
        terminal.becomes_terminal_of(command);
        let child = command.spawn().unwrap();
        Self { child, captured, terminal: Some(terminal), entered: 0 }
    }

    /// Starts the command with a standard output that nobody reads, and that has room for so many
    /// bytes: the first write after them blocks. That lasts until the reading end, which comes
    /// back, is dropped.
    #[cfg(target_os = "linux")] // which has pipes of any size
    pub fn start_with_room_for(bytes: usize, command: impl BorrowMut<Command>) -> (Self, OwnedFd) {
        let (reader, writer) = new_pipe();
        // The least that there is, a page. The kernel adds a write to a page as a whole or not at
        // all.
        let capacity = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1)).unwrap() as usize;
        let filler = vec![b'.'; capacity - bytes];
        assert_eq!(write(&writer, &filler), Ok(filler.len()));
        (Self::start_into(writer, command), reader)
    }

    /// Starts a run of `Hello, world` whose standard output is not read any more from the line on
    /// that begins so, as a process group of its own. Returns when one of its processes is blocked
    /// in a write.
    #[cfg(target_os = "linux")]
    pub fn start_blocked_at(line: &str, mut command: impl BorrowMut<Command>) -> (Self, OwnedFd) {
        // With the longest PID that there is. If it is shorter, the room that is left is still too
        // small.
        let room = transcript(9_999_999, 12, "Hello, world").find(line).unwrap();
        let command = command.borrow_mut().process_group(0);
        let (run, reader) = Self::start_with_room_for(room, command);
        wait_until("the run is blocked in a write", || {
            descendants(run.pid()).into_iter().any(is_blocked_in_write)
        });
        (run, reader)
    }

    /// Starts a program that stops at its steps, and waits there for [`enter`](Self::enter).
    pub fn start_stepping(mut command: impl BorrowMut<Command>) -> Self {
        command.borrow_mut().stdin(Stdio::piped());
        Self::start(command)
    }

    /// Starts a program that stops at its steps, and presses Enter until it stops before this one.
    #[track_caller]
    pub fn start_at(command: impl BorrowMut<Command>, next: &str) -> Self {
        let mut program = Self::start_stepping(command);
        program.step_to(next);
        program
    }

    /// Starts a program that stops, with an Enter for each of its stops, and more.
    pub fn start_with_enters(command: impl BorrowMut<Command>) -> Self {
        let mut program = Self::start_stepping(command);
        program.press(&"\n".repeat(100));
        program
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn is_alive(&self) -> bool {
        !matches!(state(self.pid()), None | Some('Z' | 'X'))
    }

    /// The terminal on which it was started.
    pub fn terminal(&self) -> &Terminal {
        self.terminal.as_ref().expect("it has a terminal")
    }

    /// What it has printed until now.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&self.stdout()).into_owned()
    }

    fn stdout(&self) -> Vec<u8> {
        self.terminal.as_ref().map_or_else(|| self.captured.stdout(), Terminal::bytes)
    }

    #[track_caller]
    pub fn until_printed(&self, text: &str) {
        self.until_said(text, || self.printed());
    }

    #[track_caller]
    pub fn until_complained(&self, text: &str) {
        self.until_said(text, || self.captured.stderr());
    }

    #[track_caller]
    fn until_said(&self, text: &str, said: impl Fn() -> String) {
        // What it has said before it ended is there when it has ended.
        wait_until(text, || !self.is_alive() || said().contains(text));
        assert!(said().contains(text), "it has ended without {text:?}: {:?}", said());
    }

    /// Stops it, by a signal that it cannot catch.
    #[track_caller]
    pub fn stop(&self) {
        kill(self.pid(), SIGSTOP).unwrap();
        wait_until("it is stopped", || state(self.pid()) == Some('T'));
    }

    pub fn go_on(&self) {
        kill(self.pid(), SIGCONT).unwrap();
    }

    /// Presses Enter until it stops before this step.
    #[track_caller]
    pub fn step_to(&mut self, next: &str) {
        loop {
            wait_until("it stops before a step", || {
                !self.is_alive() || stops(&self.printed()) > self.entered
            });
            let printed = self.printed();
            assert!(self.is_alive(), "it has ended before {next:?}: {printed}");
            let here = printed.rfind("[next: ").expect("it names the next step");
            if printed[here..].contains(next) {
                return;
            }
            self.enter();
        }
    }

    pub fn enter(&mut self) {
        self.press("\n");
        self.entered += 1;
    }

    /// Types this at its terminal, or writes it into the pipe that is its standard input.
    pub fn press(&mut self, keys: &str) {
        match (&mut self.terminal, &mut self.child.stdin) {
            (Some(terminal), _) => terminal.press(keys),
            (None, stdin) => stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap(),
        }
    }

    /// The end of its input: it does not stop any more.
    pub fn enter_for_ever(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for the end, which must come without a complaint, and takes what was printed.
    #[track_caller]
    pub fn finish_well(self) -> String {
        let finished = self.finish();
        let outcome = (finished.code, finished.stderr.as_str());
        assert_eq!(outcome, (Some(0), ""), "it printed {}", finished.text());
        finished.text().to_owned()
    }

    /// Waits for the end, and takes what was printed.
    #[track_caller]
    pub fn finish(self) -> Finished {
        self.finish_within(TIMEOUT).unwrap_or_else(|why| panic!("{why}"))
    }

    /// As [`finish`](Self::finish), for a test that goes on if the end does not come in time.
    pub fn finish_within(mut self, limit: Duration) -> Result<Finished, String> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if let Some(terminal) = &self.terminal {
                terminal.bytes();
            }
            if start.elapsed() > limit {
                let said = (self.printed(), self.captured.stderr());
                return Err(format!("PID {} has not ended within {limit:?}: {said:?}", self.pid()));
            }
            thread::sleep(Duration::from_millis(1));
        };
        Ok(Finished {
            stdout: self.stdout(),
            stderr: self.captured.stderr(),
            code: status.code(),
            signal: status.signal(),
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often it has stopped.
pub fn stops(text: &str) -> usize {
    text.matches("[Enter goes on]").count()
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
    /// Standard output, which must be UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The exit status, standard error, and standard output.
    pub fn outcome(&self) -> (Option<i32>, &str, &str) {
        (self.code, &self.stderr, self.text())
    }

    /// The run delivered `shown` (the message as it is printed), and printed nothing else.
    /// (What it said on standard error is not looked at.)
    #[track_caller]
    pub fn assert_delivered(&self, size: usize, shown: &str) {
        assert_eq!(self.text(), transcript(listener_in(self.text()), size, shown), "{self:#?}");
        assert_eq!((self.code, self.signal), (Some(0), None), "{self:#?}");
    }

    /// The run delivered `Hello, world`, and complained of nothing.
    #[track_caller]
    pub fn assert_hello(&self) {
        self.assert_delivered(12, "Hello, world");
        assert_eq!(self.stderr, "");
    }

    /// The run failed with status 1 and one line on standard error that has each of `parts`.
    #[track_caller]
    pub fn assert_failed_with(&self, parts: &[&str]) {
        assert_eq!((self.code, self.signal), (Some(1), None), "{self:#?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:#?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {:?}", self.stderr);
        }
    }
}
