//! What strace(1) sees of a run: in the words in which an explained run tells it; and in outlines,
//! with names for what differs from run to run, so that two runs can be compared.

use super::calls::{NAMES, names_of};
use super::told::*;
use super::tracer::can_trace;
use super::*;

/// An option for strace(1): what comes of so many calls of this name, in place of what the kernel
/// would answer.
pub fn inject(call: &str, answer: &str, when: &str) -> String {
    // (With a question mark, it may be a name that this kernel does not know.)
    let names = names_of(call).map(|name| format!("?{name}")).collect::<Vec<_>>().join(",");
    format!("inject={names}:{answer}:when={when}")
}

/// The call of the story that the process, which is held at a system call, has just begun or is
/// just returning from. (It may be another call, that the story does not tell of.)
pub fn call_at_hand(pid: Pid) -> Option<&'static str> {
    let (call, arguments) = call_of(pid)?;
    Some(match call {
        libc::SYS_rt_sigaction => "sigaction",
        // The byte that says "ready"; what is handed over is longer.
        libc::SYS_write if arguments[2] == 1 => "write",
        calls::SYS_newfstatat => "ftok",
        calls::SYS_shmget => "shmget",
        calls::SYS_shmctl => "shmctl",
        calls::SYS_shmat => "shmat",
        calls::SYS_shmdt => "shmdt",
        libc::SYS_exit_group => "_exit",
        _ => return None,
    })
}

/// strace(1), which is there.
#[derive(Clone, Copy)]
pub struct Strace;

impl Strace {
    /// `None`, and a word about it that nobody captures, if there is no strace, or if it may not
    /// trace.
    #[track_caller]
    pub fn find() -> Option<Self> {
        (is_there("strace") && can_trace()).then_some(Self)
    }

    /// The program with these arguments under strace(1), which logs under this name. With options
    /// of its own it can do more than look.
    pub fn command(
        self,
        scratch: &Scratch,
        name: &str,
        options: &[&str],
        args: &[&str],
    ) -> Command {
        let program = match args {
            ["--via=socket", rest @ ..] => scratch.via_socket(rest),
            _ => scratch.sigshm(args),
        };
        let mut strace = Command::new("strace");
        strace.current_dir(scratch.dir()).env_remove("NO_COLOR").stdin(Stdio::null());
        strace.args(["-ff", "-v", "-s", "4096", "-o", name]).args(options);
        strace.arg(program.get_program()).args(program.get_args());
        with_default_signals(&mut strace);
        strace
    }

    /// Runs the program under strace(1), to this end.
    #[track_caller]
    pub fn watch(self, scratch: &Scratch, args: &[&str], code: i32) -> Watched {
        let finished = run(self.command(scratch, "run", &[], args));
        assert_eq!(finished.code, Some(code), "{finished:#?}");
        Watched::new(scratch, "run", finished)
    }
}

/// What strace(1) has seen of a run, and what the run has told.
pub struct Watched {
    pub finished: Finished,
    /// The process that has loaded the program.
    pub sender: Process,
    /// Its child, if it has one.
    pub listener: Option<Process>,
    translator: Translator,
}

impl Watched {
    /// A run that strace(1) has logged under this name.
    pub fn new(scratch: &Scratch, name: &str, finished: Finished) -> Self {
        let (mut sender, mut listener) = (None, None);
        for file in fs::read_dir(scratch.dir()).unwrap().flatten() {
            let file_name = file.file_name().into_string().unwrap();
            let Some(pid) = file_name.strip_prefix(&format!("{name}.")) else { continue };
            let log = fs::read_to_string(file.path()).unwrap();
            // The next run of this name must not find it.
            fs::remove_file(file.path()).unwrap();
            let process = Process::new(Pid::from_raw(pid.parse().unwrap()), &log);
            let role = if log.contains("execve(") { &mut sender } else { &mut listener };
            assert!(role.replace(process).is_none(), "there are too many processes");
        }
        let sender = sender.expect("strace has seen the program");

        let calls = told_calls(finished.text());
        let is_pair = |call: &&Call| matches!(call.name(), "pipe" | "socketpair");
        let [told, made] = [&calls, &sender.calls]
            .map(|it| it.iter().filter(is_pair).map(Call::ends).collect::<Vec<_>>());
        // The listener hands over its records through a pipe that is not told.
        let is_told = |pair: &[i32; 2]| calls.is_empty() || told.contains(pair);
        let (pipes, records): (Vec<_>, Vec<_>) = made.into_iter().partition(is_told);
        assert!(records.len() <= 1, "these are not told: {records:?}");

        let mut names = vec![(Kind::Process, sender.pid.to_string(), "SENDER".to_owned())];
        let child =
            listener.iter().map(|it| (Kind::Process, it.pid.to_string(), "LISTENER".into()));
        names.extend(child);
        for call in &sender.calls {
            let (value, name) = match call.name() {
                "shmget" => (call.returned.as_str(), "SEGMENT"),
                "shmctl" if call.is_status() => (call.field("shm_cpid"), "CREATOR"),
                "kill" => (between(&call.words, "(", ",").unwrap(), "PEER"),
                name if name.starts_with("SIG") => (call.field("si_pid"), "PEER"),
                _ => continue,
            };
            let kind = if name == "SEGMENT" { Kind::Segment } else { Kind::Process };
            let is_new = names.iter().all(|it| (it.0, &*it.1) != (kind, value));
            // (The first segment of an IPC namespace has the ID 0. No process has.)
            if is_new && value.parse::<u32>().is_ok_and(|it| it > 0 || kind == Kind::Segment) {
                names.push((kind, value.to_owned(), format!("{name} {}", names.len())));
            }
        }
        let path = format!("\"{}\"", scratch.path().display());
        let (key, records, pipes) = (scratch.key(), records.concat(), pipes.concat());
        let translator = Translator { path, key, records, pipes, names };
        Self { finished, sender, listener, translator }
    }

    /// Each process tells the calls that strace(1) has seen of it, in the same order and with the
    /// same arguments and results, and no others. Returns those that are told.
    #[track_caller]
    pub fn assert_told_is_seen(&self) -> Vec<Call> {
        let text = self.finished.text();
        let listens_alone = self.listener.is_none() && text.contains("# Listening");
        let parent = (if listens_alone { "listener" } else { "sender" }, &self.sender);
        let child = self.listener.iter().map(|it| ("listener", it));
        for (who, process) in iter::once(parent).chain(child) {
            let mut seen = self.translator.story(process);
            let told = told_by(who, text, &seen);
            if process.was_killed() && seen.len() == told.len() + 1 {
                // Killed between the call and its record.
                seen.pop();
            }
            for (index, (told, seen)) in told.iter().zip(&seen).enumerate() {
                if let Some(told) = told {
                    assert_eq!(told, &with_fields_of(told, seen), "call {index} of the {who}");
                }
            }
            assert_eq!(told.len(), seen.len(), "{who}: told {told:#?}, seen {seen:#?}");
        }
        told_calls(text)
    }

    /// What each process did, without what an explained run may do otherwise: print, hand over
    /// records, read clocks, take memory. A run that fails kills its listener, wherever that is: so
    /// that one is left out.
    pub fn outline(&self) -> Vec<String> {
        let mut outline = vec!["SENDER:".to_owned()];
        outline.extend(self.translator.outlines(&self.sender));
        if let Some(listener) = self.listener.as_ref().filter(|_| self.finished.code == Some(0)) {
            outline.push("LISTENER:".to_owned());
            outline.extend(as_if_spun(self.translator.outlines(listener)));
        }
        outline
    }
}

/// What strace(1) has seen of one process.
pub struct Process {
    pub pid: Pid,
    /// The calls that have returned, from the first one of the story on; and, without a result, the
    /// signals that came, but for SIGCHLD.
    pub calls: Vec<Call>,
}

impl Process {
    pub fn new(pid: Pid, log: &str) -> Self {
        let mut calls = Vec::new();
        let mut interrupted = None;
        let mut all_blocked = 0;
        for line in log.lines() {
            if let Some(signal) = line.strip_prefix("--- ").filter(|it| it.starts_with("SIG")) {
                let name = signal.split(' ').next().unwrap();
                if name != "SIGCHLD" {
                    // It comes after the call that it has interrupted.
                    calls.extend(interrupted.take());
                    let words = signal.replace(&format!("si_signo={name}, "), "");
                    calls.push(Call::new(pid, words, ""));
                }
                continue;
            }
            // (If the process was killed meanwhile, a call has not returned.)
            let Some((words, returned)) = line.rsplit_once(" = ") else { continue };
            let (returned, _) = returned.split_once(" (").unwrap_or((returned, ""));
            let (kernel, arguments) = words.trim_end().split_once('(').unwrap();
            let story = NAMES.iter().find(|(name, _)| *name == kernel);
            let words = format!("{}({arguments}", story.map_or(kernel, |(_, story)| story));
            if is_of_c_library(&words, &mut all_blocked) {
                continue;
            }
            let words = if kernel.starts_with("ppoll") { in_milliseconds(&words) } else { words };
            // ftok(3) of some C libraries. The standard library's looks are without this.
            let is_ftok =
                kernel == "statx" && words.contains("\", AT_STATX_SYNC_AS_STAT|AT_NO_AUTO");
            let words = if is_ftok { words.replacen("statx", "stat", 1) } else { words };
            // Some machines add it to the command.
            let words = words.replace("IPC_64|", "");
            if returned.starts_with("? ERESTART") {
                interrupted = Some(Call::new(pid, words, "-1 EINTR"));
            } else if !returned.starts_with('?') && !words.starts_with("rt_sigreturn(") {
                interrupted = None;
                calls.push(Call::new(pid, words, returned));
            }
        }
        // What comes before is the start-up of the program.
        let first = calls.iter().position(|it| it.name() == "sigprocmask");
        calls.drain(..first.unwrap_or_default());
        Self { pid, calls: without_checks(calls) }
    }

    /// What a process that has not ended has done, as far as it is logged under this name.
    pub fn until_now(scratch: &Scratch, name: &str, pid: Pid) -> Self {
        let log = scratch.dir().join(format!("{name}.{pid}"));
        Self::new(pid, &fs::read_to_string(log).unwrap_or_default())
    }

    /// The calls of this name.
    pub fn called(&self, name: &str) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.name() == name).collect()
    }

    /// The signals that came, but for SIGCHLD.
    pub fn signals(&self) -> Vec<&str> {
        let words = self.calls.iter().map(|call| call.words.as_str());
        words.filter(|words| words.starts_with("SIG")).collect()
    }

    pub fn was_killed(&self) -> bool {
        !self.calls.iter().any(|call| matches!(call.name(), "shmdt" | "recv"))
    }
}

/// The calls of a process without those by which, while it waits, it checks once a second whether
/// its message can still be found. They are not of the story. (A slow machine has more of them.)
fn without_checks(mut calls: Vec<Call>) -> Vec<Call> {
    let is = |call: Option<&Call>, name| call.is_some_and(|it| it.name() == name);
    let is_status = |call: Option<&Call>| call.is_some_and(Call::is_status);
    // The demo checks after a poll in vain, and `--to` between a look at the status and a pause.
    for at in (1..calls.len()).rev() {
        let end = at + 1 + usize::from(is(calls.get(at + 1), "stat"));
        let before = &calls[at - 1];
        let is_check = before.name() == "poll" && before.returned == "0"
            || before.is_status() && is(calls.get(end), "nanosleep");
        if is_check && is_status(calls.get(at)) {
            calls.drain(at..end);
        }
    }
    calls
}

/// Whether the C library blocks all signals, or those of its own, for a short time, as some do
/// around fork(3), or ends that. `depth` is how often they are blocked.
pub fn is_of_c_library(words: &str, depth: &mut usize) -> bool {
    let Some(words) = words.strip_prefix("sigprocmask(") else { return false };
    let before = *depth;
    *depth = match words {
        _ if words.starts_with("SIG_BLOCK, ~[") => before + 1,
        // Back to all but its own. The child of a fork(3) begins so.
        _ if words.starts_with("SIG_SETMASK, ~[") => 1,
        _ if words.starts_with("SIG_SETMASK, ") => before.saturating_sub(1),
        _ => before,
    };
    before > 0 || *depth > 0 || words.starts_with("SIG_UNBLOCK, [RT_")
}

/// ppoll(2), with its timeout as poll(2) has it.
fn in_milliseconds(ppoll: &str) -> String {
    let (start, _signals) = ppoll.rsplit_once(", NULL, ").unwrap();
    match start.rsplit_once(", {tv_sec=") {
        Some((start, time)) => {
            let (seconds, rest) = time.split_once(", tv_nsec=").unwrap();
            let [seconds, nanoseconds] =
                [seconds, rest.trim_end_matches('}')].map(|it| it.parse::<i64>().unwrap());
            format!("{start}, {})", 1000 * seconds + nanoseconds / 1_000_000)
        }
        None => start.strip_suffix("NULL").unwrap().to_owned() + "-1)",
    }
}

/// What must be known of a run to understand its calls.
pub struct Translator {
    /// As strace(1) writes it, in quotation marks.
    pub path: String,
    pub key: i32,
    /// The descriptors of the pipe through which the listener hands over its records.
    pub records: Vec<i32>,
    /// Those of the other pipes.
    pub pipes: Vec<i32>,
    /// For the outlines: numbers that differ from run to run, and what they are.
    pub names: Vec<(Kind, String, String)>,
}

/// What a number that differs from run to run stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Process,
    Segment,
}

impl Kind {
    /// Of which kind the number is that comes next, after this much of the outline of a call. (As a
    /// number alone, it may be small, and then also a descriptor, a size or a count.)
    fn after(text: &str) -> Option<Self> {
        let of_process = ["kill(", "waitpid(", "pid=", "PID "];
        let of_segment = ["shmctl(", "shmat(", "segment "];
        let is_result = text.ends_with(" = ");
        match text.split(['(', ' ']).next()? {
            "fork" | "getpid" | "getppid" | "waitpid" if is_result => Some(Self::Process),
            "shmget" if is_result => Some(Self::Segment),
            _ if of_process.iter().any(|it| text.ends_with(it)) => Some(Self::Process),
            _ if of_segment.iter().any(|it| text.ends_with(it)) => Some(Self::Segment),
            _ => None,
        }
    }
}

impl Translator {
    /// The calls of the story, in the words in which they are told.
    fn story(&self, process: &Process) -> Vec<String> {
        let is_alarm = |words: &str| words.starts_with("sigaction(SIGALRM, ");
        let mut before = "";
        let calls: Vec<_> = process.calls.iter().filter(|call| !self.is_free(call)).collect();
        let of_story = |index: &usize| !self.is_look_before(&calls, *index);
        let calls = (0..calls.len()).filter(of_story).map(|index| calls[index]).filter(|call| {
            // How long it waits for the lock, with a timer and SIGALRM, is not of the story. (That
            // SIGALRM is caught is, as one of many.)
            let before = mem::replace(&mut before, &call.words);
            let is_one_of_many = before.starts_with("sigaction(") && !is_alarm(before);
            !is_alarm(&call.words) || is_one_of_many
        });
        one_for_each_handler(&calls.filter_map(|call| self.told(call)).collect::<Vec<_>>())
    }

    /// Whether the standard library looks at the path: before it is opened, when it is locked, and
    /// before a listener alone makes its first key of it. Where that is the call that ftok(3) makes
    /// too, it is known by what comes before and after it.
    fn is_look_before(&self, calls: &[&Call], index: usize) -> bool {
        let is_of_path = |call: &&Call| {
            matches!(call.name(), "stat" | "open") && call.words.contains(&self.path)
        };
        let before = index.checked_sub(1).map(|before| calls[before].name());
        calls[index].name() == "stat"
            && calls.iter().all(|call| call.name() != "statx")
            && (before == Some("fstat") || calls.get(index + 1).is_some_and(is_of_path))
    }

    /// A call in the words in which it is told; `None` if it is not of the story.
    pub fn told(&self, call: &Call) -> Option<String> {
        let Call { words, returned, .. } = call;
        let told = match call.name() {
            _ if words.starts_with("SIG") => return Some(words.clone()),
            "send" | "recv" => {
                let (start, rest) = (words.split_once(", ")?.0, words.rsplit_once('"')?.1);
                // Without an address, and without room for one. (Some machines have send(2).)
                let ends = [", NULL, 0)", ", NULL, NULL)", ")"];
                let rest = ends.iter().find_map(|end| rest.strip_suffix(end))?;
                format!("{start}, …{rest})")
            }
            "poll" if words.contains("events=POLLIN}") => words.clone(),
            "shmget" => {
                let (key, rest) = words.strip_prefix("shmget(0x")?.split_once(", ")?;
                // Some versions of strace write no permissions as three digits.
                format!("shmget(0x{key:0>8}, {}", rest.replace(", 000)", ", 0)"))
            }
            "shmctl" if call.is_status() => {
                let (start, _) = words.split_once("IPC_STAT, ")?;
                let fields = ["shm_segsz", "shm_cpid", "shm_lpid", "shm_nattch"];
                let field = |label| format!("{label}={}, ", call.field(label));
                let fields = (returned == "0").then(|| fields.map(field).concat());
                let status = fields.map_or("…".to_owned(), |fields| format!("{{{fields}…}}"));
                format!("{start}IPC_STAT, {status})")
            }
            "shmat" | "shmdt" | "shmctl" | "kill" | "flock" | "socketpair" => words.clone(),
            "waitpid" => words.replace(", 0, NULL)", ", 0)"),
            "open" if words.contains(&self.path) => words
                .replace("AT_FDCWD, ", "")
                .replace("O_LARGEFILE|", "")
                .replace(&self.path, "PATH"),
            "stat" if words.contains(&self.path) => {
                return Some(format!("ftok(PATH, 1) = 0x{:08x}", self.key));
            }
            "nanosleep" => format!("nanosleep({{{}}}, …)", between(words, "{", "}")?),
            "fork" => "fork()".to_owned(),
            "pipe" if !self.records.contains(&call.ends()[0]) => format!("pipe({:?})", call.ends()),
            // One byte through a pipe: ready, or the end of the pipe.
            "read" | "write" if words.ends_with(", 1)") => {
                let fd = descriptor(call).filter(|it| self.pipes.contains(it))?;
                if call.name() == "read" { words.clone() } else { format!("write({fd}, …, 1)") }
            }
            "sigprocmask" => {
                let (start, _) = words.split_once("],")?;
                let (start, signals) = start.split_once('[')?;
                format!("{start}[{}], …)", cut(signals))
            }
            // Without a new action it only asks for the old one.
            "sigaction" => {
                let (signal, rest) = words.split_once(", ")?;
                let (handler, _) = rest.strip_prefix('{')?.split_once(", ")?;
                format!("{signal}, {{{handler}, …}}, …)")
            }
            "pselect" => {
                // If no descriptor is waited for, strace does not look at the set.
                let mut arguments = words.strip_prefix("pselect(")?.splitn(3, ", ");
                let (width, set, rest) = (arguments.next()?, arguments.next()?, arguments.next()?);
                let set = if width == "0" { "[]" } else { set };
                let rest = rest.replace("{sigmask=", "").replace(", sigsetsize=8}", "");
                format!("pselect({width}, {set}, {rest}")
            }
            _ => return None,
        };
        Some(format!("{told} = {returned}"))
    }

    /// The outlines of all that an explained run must do like a plain one.
    fn outlines(&self, process: &Process) -> Vec<String> {
        // What /proc says of a process differs, and so does how it is read.
        let mut is_open = false;
        let mut is_of_proc = |call: &&Call| {
            let was_open = is_open;
            let names_it = call.words.contains("\"/proc/");
            let opens = names_it && call.name() == "open" && !call.returned.starts_with('-');
            is_open = opens || was_open && call.name() != "close";
            was_open || names_it
        };
        let calls = process.calls.iter();
        let calls = calls.filter(|call| !is_of_proc(call) && !self.is_free(call));
        calls.map(|call| self.outline(call)).collect()
    }

    /// Whether an explained run may make this call more often, or less often, than a plain one.
    fn is_free(&self, call: &Call) -> bool {
        let is_record = |fd: i32| self.records.contains(&fd);
        match call.name() {
            "pipe" => is_record(call.ends()[0]),
            "brk" | "mmap" | "mmap2" | "munmap" | "mremap" | "madvise" | "mprotect" => true,
            "clock_gettime" | "gettimeofday" | "getrusage" => true,
            // By which some C libraries learn the PID after a fork(3).
            "set_tid_address" | "gettid" => true,
            // It prints, or hands over.
            name => descriptor(call).is_some_and(|fd| is_record(fd) || (name, fd) == ("write", 1)),
        }
    }

    /// A call, with names instead of what differs from run to run.
    pub fn outline(&self, call: &Call) -> String {
        let (mut returned, words) = (call.returned.as_str(), &call.words);
        let until = |mark: &str| words.split(mark).next().unwrap().to_owned();
        let words = match call.name() {
            // The times in them differ, and the timeout that is left.
            "shmctl" if call.is_status() => {
                let fields = ["shm_cpid", "shm_lpid", "shm_nattch"];
                let fields = fields.map(|label| format!("{label}={}", call.field(label)));
                format!("{}{fields:?}", until("{"))
            }
            // How long a line is depends on how long the PIDs in it are.
            "write" if words.starts_with("write(2, ") => {
                returned = "LENGTH";
                words.rsplit_once(", ").unwrap().0.to_owned()
            }
            "statx" | "stat" => until("{"),
            "setitimer" | "pselect" | "pipe" | "fork" => call.name().to_owned(),
            "socketpair" => until("["),
            "send" | "recv" => call.name().to_owned() + "(" + words.rsplit_once('"').unwrap().1,
            "sigaction" => until(", sa_mask"),
            "sigprocmask" => until("],") + "])",
            "poll" => until("}]"),
            _ => words.clone(),
        };
        let mut text = self.with_names(&format!("{words} = {returned}"));
        // The pipes have other descriptors if there is one more.
        for (index, fd) in self.pipes.iter().enumerate() {
            if descriptor(call) == Some(*fd) || call.name() == "poll" {
                for (before, after) in [("(", ","), ("(", ")"), ("fd=", ",")] {
                    let end = format!("{before}PIPE {index}{after}");
                    text = text.replacen(&format!("{before}{fd}{after}"), &end, 1);
                }
            }
        }
        text
    }

    /// The outline of a call, with names for its numbers: word by word, with all that lies between.
    fn with_names(&self, text: &str) -> String {
        let is_gap = |letter: char| !letter.is_ascii_alphanumeric();
        text.split_inclusive(is_gap).fold(String::new(), |named, piece| {
            let word = piece.trim_end_matches(is_gap);
            let kind = Kind::after(&named);
            let known = self.names.iter().find(|it| Some(it.0) == kind && it.1 == word);
            let is_address = word.strip_prefix("0x").is_some_and(|digits| digits.len() > 7);
            let name = if is_address { "ADDRESS" } else { known.map_or(word, |it| &it.2) };
            named + name + &piece[word.len()..]
        })
    }
}

/// What a listener did, as if it had spun until its parent's signal came. It may have had to sleep.
fn as_if_spun(mut listened: Vec<String>) -> Vec<String> {
    let unblocks = "sigprocmask(SIG_UNBLOCK, [USR1]) = 0";
    let blocks = "sigprocmask(SIG_BLOCK, [USR1]) = 0";
    // Once a second it looks at what the handler sets.
    listened.retain(|call| call != "pselect = 0");
    if let Some(at) = listened.windows(2).position(|it| it == [blocks, "pselect = -1 EINTR"]) {
        listened.remove(at + 1);
        listened.swap(at, at + 1);
    }
    if let Some(came) = listened.iter().position(|it| it.starts_with("SIGUSR1 ")) {
        assert!(listened[came].contains("{si_code=SI_USER, si_pid=SENDER, "), "{listened:#?}");
        assert_eq!([&listened[came - 1], &listened[came + 1]], [unblocks, blocks]);
        assert!(listened[came + 2].starts_with("stat("), "{listened:#?}");
    }
    listened
}

/// The calls that one process tells. One that is counted but not told is `None`.
fn told_by(who: &str, text: &str, seen: &[String]) -> Vec<Option<String>> {
    // In the runs that are watched, only one process looks again: the sender, or a listener alone.
    let looks_again = if text.contains("    sender    ") { "sender" } else { "listener" };
    let mut calls = Vec::new();
    let mut looks = None;
    for it in told(text) {
        match it {
            Told::Looks(times) if who == looks_again => looks = Some((calls.len(), times)),
            Told::Call(call) if call.who == who && (call.name() != "fork" || who == "sender") => {
                calls.resize(calls.len() + call.times() - 1, None);
                calls.push(Some(without_cause(&call)));
            }
            Told::Signal(signal) if signal.who == who => calls.push(Some(signal.words)),
            _ => {}
        }
    }
    if let Some((at, times)) = looks {
        // One entry stands for as many looks as it says, each like the first one.
        let missing = seen.len().checked_sub(calls.len()).expect("more is told");
        assert_eq!(missing % times, 0, "{who}: {seen:#?}");
        let each = missing / times;
        let names = |calls: &[String]| {
            calls.iter().map(|it| it.split('(').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        for look in seen[at..at + missing].chunks(each) {
            assert_eq!(names(look), names(&seen[at - each..at]), "{who}: {seen:#?}");
        }
        calls.splice(at..at, vec![None; missing]);
    }
    calls
}

/// A call, without the words for its errno. Of a path, only that it is one: a long one is cut.
fn without_cause(call: &Call) -> String {
    let Call { words, returned, .. } = call;
    let (returned, _) = returned.split_once(" (").unwrap_or((returned, ""));
    let words = match words.split('"').collect::<Vec<_>>()[..] {
        [start @ ("open(" | "ftok("), _, rest] => format!("{start}PATH{rest}"),
        _ => words.clone(),
    };
    format!("{words} = {returned}")
}

/// One handler for many signals is told in one line; strace(1) sees a call for each.
pub fn one_for_each_handler(seen: &[String]) -> Vec<String> {
    fn parts(call: &str) -> Option<(&str, &str)> {
        call.strip_prefix("sigaction(SIG")?.split_once(", {sa_handler=0x")
    }
    let is_same = |a: &String, b: &String| {
        let [a, b] = [a, b].map(|it| parts(it).map(|(_, handler)| handler));
        a.is_some() && a == b
    };
    let told = seen.chunk_by(is_same).map(|calls| {
        let signals: Vec<&str> = calls.iter().filter_map(|it| Some(parts(it)?.0)).collect();
        match (calls, parts(&calls[0])) {
            ([_, _, ..], Some((_, handler))) => {
                format!("sigaction([{}], {{sa_handler=0x{handler}", cut(&signals.join(" ")))
            }
            _ => calls[0].clone(),
        }
    });
    told.collect()
}

/// What was seen, with the fields of a status that are told: `{shm_cpid=4547, shm_nattch=1, …}`.
pub fn with_fields_of(told: &str, seen: &str) -> String {
    let status = |call| between(call, "IPC_STAT, {", "}");
    let (Some(told), Some(fields)) = (status(told), status(seen)) else { return seen.to_owned() };
    let told: Vec<&str> = told.split(", ").collect();
    assert_eq!(told.len(), 3, "{told:?}");
    let of_told = fields.split(", ").filter(|field| told.contains(field));
    seen.replace(fields, &Vec::from_iter(of_told).join(", "))
}

/// A list of signals as it is told: of many, the first three.
fn cut(signals: &str) -> String {
    match signals.split(' ').collect::<Vec<_>>()[..] {
        [first, second, third, _, _, ..] => format!("{first} {second} {third} …"),
        _ => signals.to_owned(),
    }
}

fn between<'a>(words: &'a str, start: &str, end: &str) -> Option<&'a str> {
    Some(words.split_once(start)?.1.split_once(end)?.0)
}

/// The descriptor that a call is about, if it is about one.
fn descriptor(call: &Call) -> Option<i32> {
    let of_one = ["read", "write", "close", "fcntl", "lseek", "fstat", "statx", "stat"];
    let (_, arguments) = call.words.split_once('(')?;
    let (first, _) = arguments.split_once([',', ')'])?;
    of_one.contains(&call.name()).then(|| first.parse().ok())?
}

// What comes of strace's own lines.
