//! Runs of the program that is checked. Whatever it does, a run ends and nothing of it is left.
//!
//! This process is a subreaper (see `PR_SET_CHILD_SUBREAPER` in prctl(2)): whoever loses its parent
//! becomes a child of this process. So a run is over when waitpid(2) has nobody left to wait for. A
//! run has a session of its own, so that a whole process group can be killed at once.

use std::collections::BTreeSet;

use nix::cmsg_space;
use nix::pty::openpty;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, setsockopt,
    socketpair, sockopt,
};
use nix::unistd::{AccessFlags, access, getpgid, getpgrp, setsid};

use crate::support::*;
use crate::tracee::{self, Stop};

/// More output than this is a flood, and more processes at once are a fork bomb.
pub const FLOOD: usize = 1 << 20;
pub const BOMB: usize = 100;

/// The program that is checked: a file and its first arguments, as in `python3 mine.py`.
#[derive(Clone, Debug)]
pub struct Subject {
    pub words: Vec<std::ffi::OsString>,
    pub limits: Limits,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A run must end within this time.
    pub end: Duration,
    /// And what it leaves behind may end so much later by itself.
    pub left: Duration,
}

/// What the standard output of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdout {
    Pipe,
    Terminal,
    /// It tells who wrote: see `SCM_CREDENTIALS` in unix(7).
    Socket,
}

/// How the process that was started has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    Killed(i32),
    /// It has not, and was killed.
    Hung,
    Flooded,
    ForkedForEver,
    /// It could not be started.
    Absent,
}

#[derive(Debug)]
pub struct Run {
    pub message: String,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub end: End,
    pub took: Duration,
    /// Whether the process that was started has printed the message. (Only a socket tells.)
    pub is_received_by_main: bool,
}

impl Run {
    fn absent(message: &str, why: &io::Error) -> Self {
        let (stdout, stderr) = (Vec::new(), why.to_string().into_bytes());
        let (message, took) = (message.to_owned(), Duration::ZERO);
        Self { message, stdout, stderr, end: End::Absent, took, is_received_by_main: false }
    }

    pub fn lines(&self) -> Vec<String> {
        lines(&self.stdout)
    }

    pub fn has_received(&self) -> bool {
        has_received(&self.stdout, &self.message)
    }

    /// It has hung, flooded, forked for ever or crashed.
    pub fn is_out_of_hand(&self) -> bool {
        !matches!(self.end, End::Exited(_))
    }

    /// How it ended, for a sentence.
    pub fn told(&self) -> String {
        if self.end == End::Absent {
            return format!("it could not be started: {}", String::from_utf8_lossy(&self.stderr));
        }
        let stderr = lines(&self.stderr);
        let said = stderr.first().map(|it| it.chars().take(60).collect::<String>());
        let said = said.map_or(String::new(), |it| format!(" (it said {it:?})"));
        let end = match self.end {
            End::Exited(code) => format!("its exit status was {code}"),
            End::Killed(signal) => match Signal::try_from(signal) {
                Ok(signal) => format!("{signal} killed it"),
                Err(_) => format!("signal {signal} killed it"),
            },
            End::Hung => {
                let seconds = self.took.as_secs();
                format!("it hung, and was killed after {seconds} s (which process waits for what?)")
            }
            End::Flooded => format!("it printed more than {FLOOD} bytes, and was killed"),
            End::Absent => unreachable!("it was not started"),
            End::ForkedForEver => format!("it had more than {BOMB} processes, and was killed"),
        };
        end + &said
    }
}

/// The lines of an output, without escape sequences (colours) and what a terminal adds.
pub fn lines(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let mut plain = String::new();
    let mut rest = &*text;
    while let Some((before, escape)) = rest.split_once('\x1b') {
        plain += before;
        // A control sequence ends with a letter, for instance; others are one character, as in
        // `ESC 7`. See console_codes(4).
        let is_end = |it: char| ('@'..='~').contains(&it) && it != '[';
        let is_short = escape.starts_with(|it: char| ('0'..='?').contains(&it));
        let end = if is_short { Some(0) } else { escape.find(is_end) };
        rest = end.map_or("", |end| &escape[end + 1..]);
    }
    (plain + rest).lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

pub fn has_received(output: &[u8], message: &str) -> bool {
    let wanted = format!("Received: {message}");
    // Nobody can see the space at the end of an empty message's line.
    lines(output).iter().any(|it| it.ends_with(&wanted) || it.ends_with(wanted.trim_end()))
}

/// Adds what was printed now. Whether the message is received in it.
pub fn adds_received(said: &mut Vec<u8>, now: &[u8], message: &str) -> bool {
    // No line with a message is longer; a flood without lines is not looked through each time.
    let tail = said.len().saturating_sub(1 << 13);
    let start = said[tail..].iter().rposition(|it| *it == b'\n').map_or(tail, |it| tail + it + 1);
    said.extend(now);
    has_received(&said[start..], message)
}

/// What a run, or several at once, have come to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub runs: Vec<Run>,
    /// The processes that had to be killed although the runs had ended.
    pub left: Vec<String>,
    /// How many segments they have left.
    pub segments: usize,
}

/// What is known while they run.
pub struct Now {
    pub elapsed: Duration,
    pub main: Pid,
    /// All processes of the runs, and all that ever were as far as they were seen.
    pub living: Vec<Pid>,
    pub seen: BTreeSet<i32>,
    before: BTreeSet<i32>,
    key: i32,
}

impl Now {
    /// The segments that they have created. (Nobody else has the key of their path. One of another
    /// key whose creator has lived too short to be seen is missed.)
    pub fn segments(&self) -> Vec<Segment> {
        let is_theirs = |it: &Segment| {
            let is_known = it.key == self.key || self.seen.contains(&it.creator_pid);
            is_known && !self.before.contains(&it.id)
        };
        segments().into_iter().filter(is_theirs).collect()
    }
}

struct Started {
    /// Never waited for through this: see `reap`.
    _child: Child,
    main: Pid,
    message: String,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    kind: Stdout,
    said: [Vec<u8>; 2],
    end: Option<(End, Duration)>,
    is_received_by_main: bool,
}

impl Subject {
    /// The program of this name: a file, or a command whose words are divided by spaces. What names
    /// a file is looked up where the command was typed, since each run has another folder.
    pub fn named(name: &str, limits: Limits) -> Result<Self, String> {
        let folders = [env::var_os("PWD").map(PathBuf::from), env::current_dir().ok()];
        let file = |word: &str| {
            let mut paths = folders.iter().flatten().map(|it| it.join(word));
            paths.find(|it| it.is_file())
        };
        let words: Vec<&str> = match file(name) {
            Some(_) => vec![name],
            None => name.split_whitespace().collect(),
        };
        let Some(first) = words.first() else {
            return Err("PROGRAM is empty: it names the program to check".to_owned());
        };
        let is_found = if first.contains('/') {
            file(first).is_some()
        } else {
            // As the shell finds it.
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path).any(|it| it.join(first).is_file())
        };
        if !is_found {
            let hint = match file(first) {
                Some(_) => format!("a file of this folder is ./{first}"),
                None => "it names a file, or a command such as \"python3 mine.py\"".to_owned(),
            };
            return Err(format!("PROGRAM={name}: there is no program {first:?}: {hint}"));
        }
        let whole = |(number, word): (usize, &&str)| {
            let is_command = number == 0 && !word.contains('/');
            // A folder, too, as in `java -cp . Mine`.
            let mut paths = folders.iter().flatten().map(|it| it.join(word));
            let found = if is_command { None } else { paths.find(|it| it.exists()) };
            found.map_or_else(|| word.into(), Into::into)
        };
        let words: Vec<std::ffi::OsString> = words.iter().enumerate().map(whole).collect();
        let is_executable =
            |it: &std::ffi::OsString| access(it.as_os_str(), AccessFlags::X_OK).is_ok();
        if first.contains('/') && !is_executable(&words[0]) {
            return Err(format!("PROGRAM={name} is not executable: see chmod(1)"));
        }
        Ok(Self { words, limits })
    }

    /// The program with this message, in that folder, at its path.
    pub fn command(&self, message: &str, scratch: &Scratch) -> Command {
        // Another run may have removed them.
        let _ = fs::create_dir_all(scratch.dir());
        let _ = File::options().append(true).create(true).open(scratch.path());
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).arg(message).arg(scratch.path());
        command.current_dir(scratch.dir()).stdin(Stdio::null());
        with_default_signals(&mut command);
        command.in_child(|| {
            setsid()?;
            // If somebody kills the check.
            set_pdeathsig(SIGKILL)
        });
        command
    }

    /// One run, at a path of its own.
    pub fn run(&self, message: &str) -> Outcome {
        self.run_into(Stdout::Pipe, message)
    }

    pub fn run_into(&self, stdout: Stdout, message: &str) -> Outcome {
        self.disturbed(stdout, message, |_| {})
    }

    /// One run to which somebody does something, again and again until it has ended.
    pub fn disturbed(&self, stdout: Stdout, message: &str, disturb: impl FnMut(&Now)) -> Outcome {
        let scratch = Scratch::unchecked();
        self.watch(&scratch, stdout, &[message.to_owned()], self.limits.end, disturb)
    }

    /// Several runs at once at this path.
    pub fn watch(
        &self,
        scratch: &Scratch,
        stdout: Stdout,
        messages: &[String],
        limit: Duration,
        mut disturb: impl FnMut(&Now),
    ) -> Outcome {
        let before = segments().iter().map(|it| it.id).collect();
        let start = Instant::now();
        let mut all = Vec::new();
        let mut outcome = Outcome::default();
        for message in messages {
            match self.start(scratch, stdout, message) {
                Ok(started) => all.push(started),
                Err(error) => outcome.runs.push(Run::absent(message, &error)),
            }
        }
        if all.is_empty() {
            return outcome;
        }
        let (living, seen) = (Vec::new(), all.iter().map(|it| it.main.as_raw()).collect());
        let (elapsed, main, key) = (Duration::ZERO, all[0].main, scratch.key());
        let mut now = Now { elapsed, main, living, seen, before, key };
        let mut ended_at = None;
        loop {
            now.elapsed = start.elapsed();
            for run in &mut all {
                run.read();
            }
            let is_over = !reap(|pid, end| {
                now.seen.insert(pid.as_raw());
                if let Some(run) = all.iter_mut().find(|it| it.main == pid) {
                    run.end.get_or_insert((end, start.elapsed()));
                }
            });
            if is_over {
                break;
            }
            now.living = descendants_of_this(BOMB * messages.len());
            now.seen.extend(now.living.iter().map(|it| it.as_raw()));
            let flooded = all.iter().any(|run| run.said.iter().any(|it| it.len() > FLOOD));
            let verdict = match () {
                () if flooded => Some(End::Flooded),
                () if now.living.len() > BOMB * messages.len() => Some(End::ForkedForEver),
                () if now.elapsed > limit => Some(End::Hung),
                () => None,
            };
            if all.iter().all(|run| run.end.is_some()) {
                // The processes that are left may still end by themselves.
                let ended_at = *ended_at.get_or_insert(now.elapsed);
                if now.elapsed > ended_at + self.limits.left
                    || verdict.is_some_and(|it| it != End::Hung)
                {
                    outcome.left =
                        now.living.iter().filter_map(|&it| described_if_alive(it)).collect();
                    kill_all(&mut now.seen);
                    break;
                }
            } else if let Some(verdict) = verdict {
                let unended = all.iter_mut().filter(|run| run.end.is_none());
                unended.for_each(|run| run.end = Some((verdict, now.elapsed)));
                kill_all(&mut now.seen);
                break;
            } else {
                disturb(&now);
            }
            thread::sleep(Duration::from_micros(200));
        }
        for segment in now.segments() {
            outcome.segments += 1;
            remove_segment(segment.id);
        }
        outcome.runs.extend(all.into_iter().map(Started::finish));
        outcome
    }

    fn start(&self, scratch: &Scratch, kind: Stdout, message: &str) -> io::Result<Started> {
        let mut command = self.command(message, scratch);
        let (reader, writer) = match kind {
            Stdout::Pipe => new_pipe(),
            Stdout::Terminal => {
                let ends = openpty(None, None).unwrap();
                [&ends.master, &ends.slave].into_iter().for_each(close_on_exec);
                (ends.master, ends.slave)
            }
            Stdout::Socket => {
                let flags = SockFlag::SOCK_CLOEXEC;
                let ends = socketpair(AddressFamily::Unix, SockType::Stream, None, flags).unwrap();
                setsockopt(&ends.0, sockopt::PassCred, &true).unwrap();
                ends
            }
        };
        let (errors, their_errors) = new_pipe();
        for end in [&reader, &errors] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        }
        let child = command.stdout(writer).stderr(their_errors).spawn()?;
        Ok(Started {
            main: Pid::from_raw(child.id() as i32),
            _child: child,
            message: message.to_owned(),
            stdout: Some(reader),
            stderr: Some(errors),
            kind,
            said: Default::default(),
            end: None,
            is_received_by_main: false,
        })
    }
}

impl Started {
    fn read(&mut self) {
        for (which, from) in [&mut self.stdout, &mut self.stderr].into_iter().enumerate() {
            let (said, mut bytes) = (&mut self.said[which], [0; 4096]);
            while let Some(fd) = from.as_ref().filter(|_| said.len() <= FLOOD) {
                let read = match (which, self.kind) {
                    (0, Stdout::Socket) => read_of(fd, &mut bytes),
                    _ => nix::unistd::read(fd, &mut bytes).map(|length| (length, 0)),
                };
                match read {
                    Ok((length @ 1.., writer)) => {
                        let is_new = adds_received(said, &bytes[..length], &self.message);
                        self.is_received_by_main |= is_new && writer == self.main.as_raw();
                    }
                    Err(Errno::EAGAIN) => break,
                    // The end; on a terminal it is an error.
                    Ok(_) | Err(_) => *from = None,
                }
            }
        }
    }

    fn finish(mut self) -> Run {
        self.read();
        let [stdout, stderr] = self.said;
        let (end, took) = self.end.unwrap_or((End::Hung, Duration::MAX));
        let (message, is_received_by_main) = (self.message, self.is_received_by_main);
        Run { message, stdout, stderr, end, took, is_received_by_main }
    }
}

/// Reads from a socket, and tells who wrote.
fn read_of(fd: &OwnedFd, bytes: &mut [u8]) -> nix::Result<(usize, i32)> {
    let mut control = cmsg_space!(nix::sys::socket::UnixCredentials);
    let mut parts = [io::IoSliceMut::new(bytes)];
    let flags = MsgFlags::empty();
    let read = recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let writer = read.cmsgs()?.find_map(|it| match it {
        ControlMessageOwned::ScmCredentials(writer) => Some(writer.pid()),
        _ => None,
    });
    Ok((read.bytes, writer.unwrap_or(0)))
}

/// Reaps whoever has ended. Whether there is somebody left.
fn reap(mut tell: impl FnMut(Pid, End)) -> bool {
    loop {
        match tracee::next_stop(None) {
            Some(Some((pid, Stop::Exited(code)))) => tell(pid, End::Exited(code)),
            Some(Some((pid, Stop::Killed(signal)))) => tell(pid, End::Killed(signal)),
            // One that is traced stops once more before it ends.
            Some(Some((pid, _))) => tracee::to_next_call(pid, 0),
            still_there => return still_there.is_some(),
        }
    }
}

/// Kills all that this process is the ancestor of, until nobody is left. Each is stopped before its
/// children are looked for: it makes no more of them, even if each has a session of its own.
pub fn kill_all(seen: &mut BTreeSet<i32>) {
    let start = Instant::now();
    while reap(|pid, _| _ = seen.insert(pid.as_raw())) {
        let mut all = children_of(Pid::this());
        let mut next = 0;
        while let Some(&pid) = all.get(next) {
            // All of a process group at once: no member can fork while it gets its signal.
            match getpgid(Some(pid)) {
                Ok(group) if group != getpgrp() => _ = killpg(group, SIGSTOP),
                _ => _ = kill(pid, SIGSTOP),
            }
            all.extend(children_of(pid));
            next += 1;
        }
        // The youngest first: the kernel continues stopped processes whose parent ends.
        for pid in all.into_iter().rev() {
            seen.insert(pid.as_raw());
            let _ = kill(pid, SIGKILL);
        }
        assert!(start.elapsed() < TIMEOUT, "{next} processes cannot be killed");
        thread::sleep(Duration::from_micros(200));
    }
}

/// The children of this process, theirs, and so on: so many of them, and a few more.
pub fn descendants_of_this(limit: usize) -> Vec<Pid> {
    let mut all = children_of(Pid::this());
    let mut next = 0;
    while let Some(&pid) = all.get(next).filter(|_| all.len() <= limit) {
        all.extend(children_of(pid));
        next += 1;
    }
    all
}

fn children_of(pid: Pid) -> Vec<Pid> {
    static ARE_LISTED: LazyLock<bool> =
        LazyLock::new(|| Path::new("/proc/thread-self/children").exists());
    if !*ARE_LISTED {
        return children(pid);
    }
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    let ids = lists.flat_map(|it| it.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    ids.map(|it| Pid::from_raw(it.parse().unwrap())).collect()
}

fn described_if_alive(pid: Pid) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (state(pid)? != 'Z').then(|| format!("PID {pid} ({})", name.trim_end()))
}
