//! Stops a run at an exact step of one of its processes, by ptrace(2), and lets it go on from
//! there.
//!
//! A step is a system-call stop: the kernel stops a traced process at the entry of each system call
//! and again at its exit. Between two steps a process changes nothing that anybody else can see. So
//! a fault at each step stands for a fault at any time.
//!
//! 1. [`freeze`] starts the run and drives it to the step. Then *both* processes are held in a
//!    stop, and whatever a test does to them meanwhile comes at exactly this step for both.
//! 2. [`Frozen::release`] takes the tracer away. From then on the kernel treats the run like any
//!    other.
//! 3. [`Released::finish`] waits for the end of both, which must come soon enough.
//!
//! [`at_steps`] does that for one step after the other, until there are no more.
//!
//! Every run is a process group of its own. Only the thread that has started a run can trace it.
//!
//! # The steps of a sleep do not count
//! A listener spins for 100 ms and then sleeps. A traced run is over in a few milliseconds. But on
//! a busy machine some listeners get as far as their sleep, and make a call that the others do not
//! make. If it counted, the same number would be another step from run to run, and a loop over
//! all numbers would miss some. So it does not count, and each number is the same step in every
//! run. A test that wants the sleep asks for it: [`Released::until_listener_sleeps`].

use std::panic::Location;
use std::sync::Mutex;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::told::without_explanations;
use super::*;

/// One of the two processes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Parent,
    Child,
}

/// Whom a signal is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Parent,
    Listener,
    Group,
}

impl Target {
    /// Sends the signal to the run of this parent. `None` if there is no such listener.
    pub fn send(self, signal: Signal, parent: Pid, listener: Option<Pid>) -> Option<()> {
        match self {
            Self::Parent => kill(parent, signal),
            Self::Listener => kill(listener?, signal),
            Self::Group => killpg(parent, signal),
        }
        .unwrap();
        Some(())
    }
}

/// When to freeze a run.
#[derive(Clone, Copy, Debug)]
pub enum Point {
    /// The parent's n-th step since the program was loaded.
    Early(usize),
    /// The n-th step of one side since the parent has asked for the run lock, or for two sockets.
    /// Before that, nothing has been made.
    Step(Side, usize),
    /// The entry of one side's first system call with this number.
    Call(Side, libc::c_long),
    /// The entry of the n-th write(2) to standard output, by either side.
    Line(usize),
    /// The entry of the write(2) of one byte by which the child says that it is ready.
    Ready,
}

/// A run whose processes are all held in a ptrace stop.
pub struct Frozen {
    run: Run,
    stopped: Pid,
    listener_lives: bool,
    parent_is_free: bool,
}

/// A run that nobody traces any more.
pub struct Released {
    run: Run,
}

struct Run {
    /// Never waited for through this: what waitpid(2) tells a tracer is more.
    _process: Child,
    parent: Pid,
    child: Option<Pid>,
    ended: Option<WaitStatus>,
    captured: Captured,
}

/// Starts the command and drives it to the point.
///
/// If the run ends before, its outcome comes back as the error.
pub fn freeze(command: &mut Command, point: Point) -> Result<Frozen, Finished> {
    let run = Run::start(command);
    let _watchdog = watch(run.parent);
    Tracer { run, child: ChildState::None, child_is_in_sleep: false }.drive(point)
}

/// Does something to a run at each of these steps of one side, as far as there are such. Each is a
/// run of its own; a few go side by side, since each of them waits now and then. The one that has
/// no such step any more delivers.
///
/// `command` is the run of `Hello, world`, explained or not. Returns what `act` has returned for
/// the steps, in order.
pub fn at_steps<R: Send>(
    side: Side,
    steps: impl Iterator<Item = usize> + Send,
    command: impl Fn(&Scratch) -> Command + Sync,
    act: impl Fn(usize, Scratch, Frozen) -> R + Sync,
) -> Vec<R> {
    let (steps, is_over) = (Mutex::new(steps), AtomicBool::new(false));
    let results = at_once(0..3, |_| {
        let mut results = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let step = steps.lock().unwrap().next().expect("one more step than there are");
            let scratch = Scratch::new();
            println!("Step {step} of the {side:?}:"); // Shown if the test fails.
            match freeze(&mut command(&scratch), Point::Step(side, step)) {
                Ok(frozen) => results.push((step, act(step, scratch, frozen))),
                Err(finished) => {
                    is_over.store(true, Ordering::Relaxed);
                    let text = without_explanations(finished.text());
                    assert_eq!(text, transcript(listener_in(&text), 12, HELLO));
                    assert_eq!(finished.code, Some(0), "{finished:#?}");
                    assert!(step > 30, "{side:?} has only {step} steps");
                }
            }
        }
        results
    });
    let mut results: Vec<_> = results.into_iter().flatten().collect();
    results.sort_by_key(|&(step, _)| step);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Starts the command, and stops its parent right after it has made the segment. The listener spins
/// then, and soon it sleeps: see [`Released::until_listener_sleeps`].
pub fn start_and_stop_parent(command: &mut Command) -> Released {
    start_and_stop(command, Point::Call(Side::Parent, calls::SYS_shmget))
}

/// Starts the command, and stops the process that comes to this point right after the call. It
/// comes back before that can be seen.
pub fn start_and_stop(command: &mut Command, point: Point) -> Released {
    let frozen = freeze(command, point).expect("the run has not ended");
    kill(frozen.stopped, SIGSTOP).unwrap();
    frozen.release()
}

/// Demos whose listeners sleep, all at the same time, and whose parents are stopped before that.
pub fn start_asleep(
    count: usize,
    command: impl Fn(&Scratch) -> Command,
) -> Vec<(Scratch, Released)> {
    let start = || {
        let scratch = Scratch::new();
        let released = start_and_stop_parent(&mut command(&scratch));
        (scratch, released)
    };
    let runs: Vec<_> = iter::repeat_with(start).take(count).collect();
    runs.iter().for_each(|(_, released)| released.until_listener_sleeps());
    runs
}

/// Whether a run can be traced here: a policy may refuse ptrace(2), or the system may lack it. If
/// so, it is said aloud.
#[track_caller]
pub fn can_trace() -> bool {
    static TRIED: LazyLock<io::Result<()>> = LazyLock::new(|| {
        let mut tracee = Command::new("true").in_child(ptrace::traceme).spawn()?;
        let pid = Pid::from_raw(tracee.id() as i32);
        waitpid(pid, Some(WaitPidFlag::__WALL))?;
        let tried = syscall_info(pid);
        tracee.kill()?;
        tracee.wait()?;
        Ok(tried.map(drop)?)
    });
    if let Err(error) = &*TRIED {
        not_tested(&Location::caller().to_string(), &format!("ptrace(2) does not work: {error}"));
    }
    TRIED.is_ok()
}

struct Tracer {
    run: Run,
    child: ChildState,
    child_is_in_sleep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChildState {
    /// There is none.
    None,
    /// It is there, and the stop with which a traced process begins has not been seen yet.
    New,
    Program,
    Ended,
}

impl ChildState {
    fn lives(self) -> bool {
        matches!(self, Self::New | Self::Program)
    }
}

impl Tracer {
    fn drive(mut self, point: Point) -> Result<Frozen, Finished> {
        let mut steps = 0;
        let mut has_begun = false;
        resume(self.run.parent, None);
        let stopped = loop {
            // All that is in the run's process group, and nothing else that this process has
            // started.
            let group = Pid::from_raw(-self.run.parent.as_raw());
            let status = waitpid(group, Some(WaitPidFlag::__WALL)).unwrap();
            let WaitStatus::PtraceSyscall(pid) = status else {
                if self.note(status) {
                    return Err(self.run.outcome());
                }
                continue;
            };
            let side = self.side(pid);
            let call = call(pid);
            let number = call.map(|(number, _)| number);
            let is_part_of_sleep = self.is_part_of_sleep(side, number);
            has_begun |= matches!(number, Some(libc::SYS_flock | libc::SYS_socketpair));
            let (is_counted, last) = match point {
                Point::Early(last) => (side == Side::Parent, last),
                Point::Step(of, last) => (side == of && has_begun && !is_part_of_sleep, last),
                Point::Call(of, wanted) => (side == of && number == Some(wanted), 0),
                Point::Line(last) => (matches!(call, Some((libc::SYS_write, [1, ..]))), last),
                Point::Ready => {
                    (matches!(call, Some((libc::SYS_write, [fd, _, 1, ..])) if fd != 1), 0)
                }
            };
            if is_counted && steps == last {
                break pid;
            }
            steps += usize::from(is_counted);
            resume(pid, None);
        };
        Ok(self.freeze(stopped))
    }

    /// Holds the other side too.
    fn freeze(mut self, stopped: Pid) -> Frozen {
        let other = match self.side(stopped) {
            Side::Parent => self.run.child.filter(|_| self.child.lives()),
            Side::Child => Some(self.run.parent).filter(|_| self.run.ended.is_none()),
        };
        if let Some(other) = other {
            if self.side(other) == Side::Parent || self.child == ChildState::Program {
                kill(other, SIGSTOP).unwrap();
            }
            loop {
                match waitpid(other, Some(WaitPidFlag::__WALL)).unwrap() {
                    WaitStatus::Stopped(_, SIGSTOP) => break,
                    WaitStatus::PtraceSyscall(_) => resume(other, None),
                    status => {
                        self.note(status);
                        if self.run.ended.is_some() || self.child == ChildState::Ended {
                            break;
                        }
                    }
                }
            }
        }
        let listener_lives = self.child.lives();
        Frozen { run: self.run, stopped, listener_lives, parent_is_free: false }
    }

    /// Whether this is a stop of the listener in the call that it makes only when it goes to sleep.
    /// It is known by its entry. The next stop of the same process is the exit.
    fn is_part_of_sleep(&mut self, side: Side, entered: Option<libc::c_long>) -> bool {
        if side == Side::Parent {
            return false;
        }
        let is_exit = mem::take(&mut self.child_is_in_sleep);
        self.child_is_in_sleep = entered == Some(libc::SYS_pselect6);
        is_exit || self.child_is_in_sleep
    }

    fn side(&self, pid: Pid) -> Side {
        if pid == self.run.parent { Side::Parent } else { Side::Child }
    }

    /// Takes in what is no system call. Whether the whole run has ended.
    fn note(&mut self, status: WaitStatus) -> bool {
        match status {
            WaitStatus::PtraceEvent(pid, ..) => {
                if let Ok(child) = ptrace::getevent(pid) {
                    self.meet(Pid::from_raw(child as i32));
                }
                resume(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => {
                let is_child = pid != self.run.parent;
                if is_child {
                    self.meet(pid);
                }
                if is_child && self.child == ChildState::New && signal == SIGSTOP {
                    self.child = ChildState::Program;
                    resume(pid, None);
                } else {
                    resume(pid, Some(signal));
                }
            }
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                if pid == self.run.parent {
                    self.run.ended = Some(status);
                } else {
                    self.child = ChildState::Ended;
                }
            }
            _ => panic!("this is not to happen under a tracer: {status:?}"),
        }
        self.run.ended.is_some() && !self.child.lives()
    }

    fn meet(&mut self, child: Pid) {
        if self.run.child.is_none() {
            self.run.child = Some(child);
            self.child = ChildState::New;
        }
    }
}

/// Lets the process go on to its next step. That it has been killed meanwhile is seen by the next
/// wait.
fn resume(pid: Pid, signal: Option<Signal>) {
    match ptrace::syscall(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => panic!("PTRACE_SYSCALL of PID {pid}: {errno}"),
    }
}

/// The number and the arguments of the system call at whose entry the process is stopped.
pub fn call(pid: Pid) -> Option<(libc::c_long, [u64; 6])> {
    const ENTRY: u8 = 1;
    let call = syscall_info(pid).ok().filter(|it| it.op == ENTRY)?;
    let number = calls::the_tests_number(call.number as libc::c_long, &call.arguments);
    Some((number, call.arguments))
}

/// What the kernel tells of a stop, as far as it is an entry; see `PTRACE_GET_SYSCALL_INFO` in
/// ptrace(2). (`libc` has it for one C library only.)
#[repr(C)]
#[derive(Default)]
pub struct SyscallInfo {
    pub op: u8,
    reserved: [u8; 3],
    machine: u32,
    pub instruction_pointer: u64,
    pub stack_pointer: u64,
    pub number: u64,
    arguments: [u64; 6],
}

pub fn syscall_info(pid: Pid) -> nix::Result<SyscallInfo> {
    const GET_SYSCALL_INFO: i32 = 0x420e;
    let mut info = SyscallInfo::default();
    let (get, pid, size) = (GET_SYSCALL_INFO, pid.as_raw(), size_of::<SyscallInfo>());
    // SAFETY: the kernel writes so many bytes there at most. All of them are of integers.
    Errno::result(unsafe { libc::syscall(libc::SYS_ptrace, get, pid, size, &raw mut info) })?;
    Ok(info)
}

impl Run {
    fn start(command: &mut Command) -> Self {
        let captured = Captured::of(command);
        command.process_group(0).in_child(ptrace::traceme);
        let process = command.spawn().unwrap();
        let parent = Pid::from_raw(process.id() as i32);
        // The stop with which a traced process begins a new program.
        let status = waitpid(parent, Some(WaitPidFlag::__WALL)).unwrap();
        assert_eq!(status, WaitStatus::Stopped(parent, SIGTRAP));
        let options = ptrace::Options::PTRACE_O_TRACESYSGOOD
            | ptrace::Options::PTRACE_O_TRACEFORK
            | ptrace::Options::PTRACE_O_TRACECLONE
            | ptrace::Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(parent, options).unwrap();
        Self { _process: process, parent, child: None, ended: None, captured }
    }

    /// What was printed so far.
    fn printed(&self) -> String {
        String::from_utf8(self.captured.stdout()).unwrap()
    }

    fn outcome(&self) -> Finished {
        let (code, signal) = match self.ended {
            Some(WaitStatus::Exited(_, code)) => (Some(code), None),
            Some(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
            ref other => panic!("the run has not ended: {other:?}"),
        };
        let (stdout, stderr) = (self.captured.stdout(), self.captured.stderr());
        Finished { stdout, stderr, code, signal }
    }
}

impl Drop for Run {
    /// A test that has failed leaves no process behind. One that has not finds nobody here.
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = killpg(self.parent, SIGKILL);
            let group = Pid::from_raw(-self.parent.as_raw());
            while waitpid(group, Some(WaitPidFlag::__WALL)).is_ok() {}
        }
    }
}

impl Frozen {
    pub fn parent(&self) -> Pid {
        self.run.parent
    }

    /// The listener, if there is one yet; it may have ended.
    pub fn listener(&self) -> Option<Pid> {
        self.run.child
    }

    /// The listener, if it has not ended.
    pub fn living_listener(&self) -> Option<Pid> {
        self.run.child.filter(|_| self.listener_lives)
    }

    /// The system call at whose entry the run was stopped, if it was at an entry.
    pub fn call(&self) -> Option<libc::c_long> {
        call(self.stopped).map(|(number, _)| number)
    }

    /// Whether the process is just making its last system call. No signal changes its end any more.
    pub fn is_ending(&self, pid: Pid) -> bool {
        matches!(call(pid), Some((libc::SYS_exit_group, _)))
    }

    /// What was printed so far.
    pub fn printed(&self) -> String {
        self.run.printed()
    }

    /// Takes the tracer away from the parent. The listener stays where it is.
    pub fn release_parent(&mut self) {
        if self.run.ended.is_none() && !mem::replace(&mut self.parent_is_free, true) {
            self.run.ended = detach(self.run.parent);
        }
    }

    /// Takes the tracer away from both processes. A signal that was sent to them meanwhile comes to
    /// them now.
    pub fn release(mut self) -> Released {
        if let Some(listener) = self.living_listener() {
            detach(listener);
        }
        self.release_parent();
        Released { run: self.run }
    }
}

/// Lets go of the process, which is stopped or has been killed. How it ended, if the tracer was
/// told.
fn detach(pid: Pid) -> Option<WaitStatus> {
    match ptrace::detach(pid, None) {
        Ok(()) => None,
        // Killed while it was stopped. Nobody else is told of its end until we have been.
        Err(Errno::ESRCH) => Some(waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap()),
        Err(errno) => panic!("PTRACE_DETACH of PID {pid}: {errno}"),
    }
}

impl Released {
    pub fn parent(&self) -> Pid {
        self.run.parent
    }

    pub fn listener(&self) -> Option<Pid> {
        self.run.child
    }

    /// What was printed so far.
    pub fn printed(&self) -> String {
        self.run.printed()
    }

    /// Waits until the listener has spun long enough and sleeps.
    #[track_caller]
    pub fn until_listener_sleeps(&self) {
        let listener = self.run.child.unwrap();
        wait_until("the listener sleeps", || is_blocked_in(listener, libc::SYS_pselect6));
    }

    /// Waits for the end of both processes, which must come within `limit`. A parent that was not
    /// killed has reaped its listener before it ends.
    #[track_caller]
    pub fn finish(self, limit: Duration) -> Finished {
        self.finish_after(&[SIGKILL], limit)
    }

    /// As [`finish`](Self::finish), and the run has delivered `Hello, world`.
    #[track_caller]
    pub fn finish_hello(self) {
        self.finish(TIMEOUT).assert_hello();
    }

    /// As [`finish`](Self::finish), but a parent that died of one of these has not reaped it.
    #[track_caller]
    pub fn finish_after(self, uncaught: &[Signal], limit: Duration) -> Finished {
        self.finish_if(limit, |ended| {
            matches!(ended, WaitStatus::Signaled(_, signal, _) if uncaught.contains(signal))
        })
    }

    /// As [`finish`](Self::finish), but the parent may have been unable to kill and reap it.
    #[track_caller]
    pub fn finish_unreaped(self, limit: Duration) -> Finished {
        self.finish_if(limit, |_| true)
    }

    #[track_caller]
    fn finish_if(
        mut self,
        limit: Duration,
        may_be_unreaped: impl Fn(&WaitStatus) -> bool,
    ) -> Finished {
        let start = Instant::now();
        let parent = self.run.parent;
        if self.run.ended.is_none() && has_ended_within(parent, limit) {
            self.run.ended = Some(waitpid(parent, None).unwrap());
        }
        let lives = |listener: &Pid| !matches!(state(*listener), None | Some('Z'));
        match (&self.run.ended, self.run.child) {
            (None, _) => self.fail(limit),
            (Some(ended), listener) if may_be_unreaped(ended) => {
                while listener.as_ref().is_some_and(lives) {
                    if start.elapsed() > limit {
                        self.fail(limit);
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }
            (Some(ended), Some(listener)) => {
                let state = state(listener);
                assert_eq!(state, None, "{ended:?}, and the listener is there still");
            }
            (Some(_), None) => {}
        }
        self.run.outcome()
    }

    /// The run has not ended in time.
    #[track_caller]
    fn fail(&self, limit: Duration) -> ! {
        let (parent, listener) = (self.run.parent, self.run.child);
        let states = (state(parent), listener.and_then(state));
        listener.map(|listener| kill(listener, SIGKILL));
        panic!(
            "not ended within {limit:?}: parent {parent} and listener {listener:?} in the states \
             {states:?}\n{}{}",
            self.printed(),
            self.run.captured.stderr(),
        );
    }
}

/// Whether a child of this process ends in time. It is not reaped.
fn has_ended_within(pid: Pid, limit: Duration) -> bool {
    // SAFETY: pidfd_open(2) takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = Errno::result(fd).expect("Linux has pidfd_open(2) since 5.3");
    // SAFETY: the descriptor is new, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::try_from(limit).unwrap()).unwrap() > 0
}

/// Kills a run that does not get to where it is driven, so that the tracer's wait ends. What comes
/// back calls that off when it is dropped.
fn watch(parent: Pid) -> mpsc::Sender<()> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        if receiver.recv_timeout(TIMEOUT) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = killpg(parent, SIGKILL);
        }
    });
    sender
}
