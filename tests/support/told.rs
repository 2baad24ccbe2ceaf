//! What an explained run tells, read back: its transcript, its calls, its timeline.

use super::*;

/// Explanations are indented by four columns. Lines of the transcript begin with `#` or a tab.
pub fn is_explanation(line: &str) -> bool {
    plain(line).starts_with("    ")
}

/// The lines of the transcript, with their colours.
pub fn without_explanations(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !is_explanation(line)).collect()
}

/// The explanations, line by line, without their colours.
pub fn explanations(text: &str) -> Vec<String> {
    text.lines().filter(|line| is_explanation(line)).map(plain).collect()
}

/// What the last stop of `--step` suggests: each command, and what it is said to show.
#[track_caller]
pub fn suggestions(text: &str) -> Vec<(String, String)> {
    let text = text.replace('\r', "").replace("[Enter goes on]", "");
    let (_, stop) = text.rsplit_once("[next: ").expect("a stop");
    let suggestion = |lines: &str| {
        let (command, shows) = lines.split_once('\n').unwrap();
        (command.to_owned(), Vec::from_iter(shows.split_whitespace()).join(" "))
    };
    stop.split("\n      $ ").skip(1).map(suggestion).collect()
}

/// Types such a command. `None`, and it says NOT TESTED, if the system has no program that can do
/// that.
#[cfg(target_os = "linux")]
#[allow(dead_code)] // In the benchmarks.
pub fn typed(command: &str) -> Option<Finished> {
    let typed = run(Command::new("sh").args(["-c", command]).env("LC_ALL", "C"));
    let why = match typed.code {
        Some(127) => "it is not installed",
        _ if typed.stderr.contains("BusyBox") => "that of BusyBox is without this option",
        _ => return Some(typed),
    };
    not_tested(&format!("what a stop suggests: {command}"), why);
    None
}

/// A system call, as it is told or as strace(1) has seen it: `words = returned`. Or a signal that
/// came, or something else that a process did: then nothing has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// "sender" or "listener".
    pub who: String,
    pub words: String,
    pub returned: String,
}

impl Call {
    pub fn new(who: impl ToString, words: impl Into<String>, returned: &str) -> Self {
        Self { who: who.to_string(), words: words.into(), returned: returned.to_owned() }
    }

    pub fn name(&self) -> &str {
        self.words.split('(').next().unwrap()
    }

    /// The value of a field: what follows `label=`, up to the end of the field.
    #[track_caller]
    pub fn field(&self, label: &str) -> &str {
        // Not the end of a longer name: uid= is in cuid= too.
        let at = [format!("{{{label}="), format!(" {label}=")];
        let at = at.iter().find_map(|label| self.words.split_once(label));
        let (_, rest) = at.unwrap_or_else(|| panic!("{label} is not in {}", self.words));
        rest.split([',', '}', ')']).next().unwrap()
    }

    /// How many calls it stands for: of those that a wait consists of, only the last one is told.
    pub fn times(&self) -> usize {
        let times = self.returned.split_once("(the last of ");
        times.map_or(1, |(_, times)| times.trim_end_matches(')').parse().unwrap())
    }

    /// The two descriptors of a pipe, or of a pair of sockets.
    #[track_caller]
    pub fn ends(&self) -> [i32; 2] {
        let (_, ends) = self.words.split_once('[').unwrap();
        let ends = ends.split_once(']').unwrap().0.split_once(", ").unwrap();
        [ends.0, ends.1].map(|it| it.parse().unwrap())
    }

    /// Whether it asks for a segment's status.
    pub fn is_status(&self) -> bool {
        self.words.starts_with("shmctl(") && self.words.contains(", IPC_STAT, ")
    }
}

/// Something that an explained run tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A line of the transcript, without its colours.
    Line(String),
    Call(Call),
    /// So many more looks came to the same end as the one before.
    Looks(usize),
    /// `SIGUSR1 {si_code=SI_USER, …} ---`.
    Signal(Call),
    /// What a process did without a system call.
    Done(Call),
    /// What there is to learn.
    Words(String),
}

/// Everything that is told up to the timeline, in order; what was broken into lines is whole again.
pub fn told(text: &str) -> Vec<Told> {
    whole_lines(text).into_iter().map(|(mark, words)| read(mark, words)).collect()
}

/// The lines up to the timeline, each with the mark that it begins with, if it has one.
fn whole_lines(text: &str) -> Vec<(&'static str, String)> {
    let mut told: Vec<(&str, String)> = Vec::new();
    for line in plain(text).lines().take_while(|line| !line.starts_with("    The run,")) {
        let mark = ["    sender    ", "    listener  ", "    * "];
        let mark = mark.into_iter().find(|mark| line.starts_with(mark));
        let is_open = |it: &&mut (&str, String)| {
            !it.0.is_empty() && line.starts_with(&" ".repeat(it.0.len()))
        };
        match (mark, told.last_mut().filter(is_open)) {
            (Some(mark), _) => told.push((mark, line[mark.len()..].to_owned())),
            (None, Some((mark, whole))) => *whole += &format!(" {}", &line[mark.len()..]),
            (None, None) => told.push(("", line.to_owned())),
        }
    }
    told
}

fn read(mark: &str, words: String) -> Told {
    if mark.is_empty() {
        return if is_explanation(&words) { Told::Words(words) } else { Told::Line(words) };
    }
    if mark.trim() == "*" {
        let count = words.strip_prefix("Looked again, with the same result: ");
        let count = count.and_then(|count| count.strip_suffix('.')?.parse().ok());
        return count.map_or(Told::Words(words), Told::Looks);
    }
    let who = mark.trim();
    let (words, _) = without_page(&words);
    match (words.strip_prefix("--- "), words.rsplit_once(" = ")) {
        (Some(signal), _) => Told::Signal(Call::new(who, signal, "")),
        (None, Some((words, returned))) => Told::Call(Call::new(who, words, returned)),
        (None, None) => Told::Done(Call::new(who, words, "")),
    }
}

/// The story that is told, line by line, and then the events of its timeline. Without its lessons,
/// and without how the listener waits: that differs from run to run, as it may have to sleep.
fn story(text: &str) -> Vec<String> {
    let entry = |it| match it {
        Told::Line(line) => Some(line),
        Told::Call(call) if call.who == "listener" && WAIT.contains(&call.name()) => None,
        // A poll is given what is left of the 5,000 ms: on a busy machine, less.
        Told::Call(Call { who, words, returned }) if words.starts_with("poll(") => {
            let (polled, left) = words.rsplit_once(", ").unwrap();
            assert!((1..=5000).contains(&left.trim_end_matches(')').parse().unwrap()), "{left}");
            Some(format!("{who} {polled}, 5000) = {returned}"))
        }
        Told::Call(Call { who, words, returned }) => Some(format!("{who} {words} = {returned}")),
        Told::Done(it) if !it.words.starts_with("(copied ") => None,
        Told::Signal(it) | Told::Done(it) => Some(format!("{} {}", it.who, it.words)),
        Told::Looks(times) => Some(format!("* {times} times more")),
        Told::Words(words) => Some(words).filter(|it| it.starts_with("A signal, but no ")),
    };
    let mut story: Vec<String> = told(text).into_iter().filter_map(entry).collect();
    // From the fork until the sender waits the two do not wait for each other: in this order.
    let at = |start: &str| story.iter().position(|it| it.starts_with(start));
    if let (Some(fork), Some(poll)) = (at("sender fork("), at("sender poll(")) {
        story[fork..poll].sort_by_key(|it| !it.starts_with("sender "));
    }
    let events = events(text).into_iter().filter(|it| !it.2.starts_with("spins "));
    story.extend(events.map(|(_, who, what, crosses)| format!("{who} {what}|{crosses}")));
    story
}

/// What is told is the story of a run that goes well, with this run's numbers, and with so much
/// inserted before some of its lines. The timeline tells it again.
#[track_caller]
pub fn assert_story(text: &str, sender: Pid, scratch: &Scratch, inserted: &[(&str, &str)]) {
    let calls = told_calls(text);
    let call = |who: &str, start: &str| {
        let found = calls.iter().rfind(|call| call.who == who && call.words.starts_with(start));
        found.unwrap_or_else(|| panic!("{who} {start} in {text}"))
    };
    let (listener, signal, uid) = (listener_in(text), SIGUSR1 as i32, Uid::effective());
    let path = scratch.path();
    let (path, key) = (path.display(), format!("0x{:08x}", scratch.key()));
    let lock = &call("sender", "open(").returned;
    let id = &call("sender", "shmget(").returned;
    let [from, to] = ["sender", "listener"].map(|who| &call(who, "shmat(").returned);
    let [records, [reads, writes]] = [0, 1].map(|which| named(&calls, "pipe", 2)[which].ends());
    let stores = call("listener", "sigaction(SIGUSR1").field("sa_handler");
    let cleans_up = call("sender", "sigaction([HUP").field("sa_handler");
    for address in [from, to, stores, cleans_up] {
        assert!(address.starts_with("0x"), "{address}");
    }
    let mut whole = format!(
        r#"sender sigprocmask(SIG_SETMASK, [USR1], …) = 0
sender sigaction(SIGCHLD, {{sa_handler=SIG_DFL, …}}, …) = 0
sender sigaction(SIGXFSZ, {{sa_handler=SIG_IGN, …}}, …) = 0
sender open("{path}", O_RDONLY|O_NONBLOCK|O_CLOEXEC) = {lock}
sender flock({lock}, LOCK_EX|LOCK_NB) = 0
# Message size is: 12
# Creating message object.
# Forking...
sender pipe({records:?}) = 0
sender pipe([{reads}, {writes}]) = 0
sender sigprocmask(SIG_BLOCK, [HUP INT QUIT …], …) = 0
sender fork() = {listener}
sender sigaction([HUP INT QUIT …], {{sa_handler={cleans_up}, …}}, …) = 0
sender sigprocmask(SIG_SETMASK, [USR1], …) = 0
listener fork() = 0
# Listening on PID={listener}
# Registering signal handler for SIGUSR1
listener sigaction(SIGUSR1, {{sa_handler={stores}, …}}, …) = 0
listener write({writes}, …, 1) = 1
sender poll([{{fd={reads}, events=POLLIN}}], 1, 5000) = 1
sender read({reads}, "!", 1) = 1
# Writing message to shared memory a new message.
	id=1
	text:Hello, world.
sender ftok("{path}", 1) = {key}
sender sigprocmask(SIG_BLOCK, [HUP INT QUIT …], …) = 0
sender shmget({key}, 1024, IPC_CREAT|IPC_EXCL|0600) = {id}
sender sigprocmask(SIG_SETMASK, [USR1], …) = 0
sender shmat({id}, NULL, 0) = {from}
sender shmctl({id}, IPC_STAT, {{shm_cpid={sender}, shm_nattch=1, …}}) = 0
sender (copied 1024 bytes to {from}: no system call)
sender kill({listener}, SIGUSR1) = 0
listener SIGUSR1 {{si_code=SI_USER, si_pid={sender}, si_uid={uid}}} ---
# PID={listener} received signal {signal}
listener ftok("{path}", 1) = {key}
listener shmget({key}, 1024, 0) = {id}
listener shmctl({id}, IPC_STAT, {{shm_cpid={sender}, shm_nattch=1, …}}) = 0
listener shmat({id}, NULL, SHM_RDONLY) = {to}
listener shmctl({id}, IPC_STAT, {{shm_cpid={sender}, shm_nattch=2, …}}) = 0
listener (copied 1024 bytes from {to}: no system call)
listener shmdt({to}) = 0
# Received: Hello, world
sender poll([{{fd={reads}, events=POLLIN}}], 1, 5000) = 1
sender waitpid({listener}, [{{WIFEXITED(s) && WEXITSTATUS(s) == 0}}], 0) = {listener}
# All done. Freeing memory.
sender shmctl({id}, IPC_RMID, NULL) = 0
sender shmdt({from}) = 0
sender fork() = {listener}|fork ->
listener fork() = 0|
listener registers its handler|
listener says: ready|<- ready
sender reads: ready|
sender shmget() = {id}|
sender copies the message in|segment {id} ->
sender kill()|SIGUSR1 ->
listener the handler stores it|
listener copies the message out|segment {id} ->
listener ends|
sender waitpid() = {listener}|<- exit status 0
sender removes the segment|
"#
    );
    for (before, inserted) in inserted {
        whole = whole.replacen(before, &format!("{inserted}{before}"), 1);
    }
    assert_same(&story(text), &whole.lines().collect::<Vec<_>>(), text);
}

/// What a listener waits with.
pub const WAIT: [&str; 2] = ["sigprocmask", "pselect"];

/// What is told of a call, and its manual page if it is named there.
fn without_page(words: &str) -> (&str, Option<&str>) {
    let is_page =
        |page: &str| page.ends_with("(2)") || page.ends_with("(3)") || page == "signal(7)";
    match words.rsplit_once(' ').filter(|(_, page)| is_page(page)) {
        Some((call, page)) => (call.trim_end(), Some(page)),
        None => (words, None),
    }
}

/// What a process has done, and where there is more to read about it.
#[derive(Debug)]
pub struct Paged {
    /// "sender" or "listener".
    pub who: String,
    /// The manual page, if it has one.
    pub page: Option<String>,
    /// The page that is named there, if one is.
    pub named: Option<String>,
}

/// What the processes have done, in the order in which it is told.
pub fn told_pages(text: &str) -> Vec<Paged> {
    let paged = |(mark, words): (&str, String)| {
        let (words, named) = without_page(&words);
        let page = match words.split('(').next().unwrap() {
            // Two processes return from fork, but only one has called it. And some of what was done
            // was no call.
            name if name.is_empty() || words == "fork() = 0" => None,
            name if name.starts_with("--- ") => Some("signal(7)".to_owned()),
            "ftok" => Some("ftok(3)".to_owned()),
            name => Some(format!("{name}(2)")),
        };
        Paged { who: mark.trim().to_owned(), page, named: named.map(str::to_owned) }
    };
    let lines = whole_lines(text).into_iter();
    lines.filter(|(mark, _)| !matches!(mark.trim(), "" | "*")).map(paged).collect()
}

/// The calls that are told, in order.
pub fn told_calls(text: &str) -> Vec<Call> {
    let call = |it| if let Told::Call(call) = it { Some(call) } else { None };
    told(text).into_iter().filter_map(call).collect()
}

/// The calls with this name, of which there are so many.
#[track_caller]
pub fn named<'a>(calls: &'a [Call], name: &str, times: usize) -> Vec<&'a Call> {
    let named: Vec<&Call> = calls.iter().filter(|call| call.name() == name).collect();
    assert_eq!(named.len(), times, "{name} in {calls:#?}");
    named
}

/// The names of the calls that one process tells, in order.
pub fn names_told(text: &str, who: &str) -> Vec<String> {
    let calls = told_calls(text).into_iter().filter(|call| call.who == who);
    calls.map(|call| call.name().to_owned()).collect()
}

/// Reads the picture of the bytes: the name, the place and the text column of each field; and the
/// bytes of all.
pub fn bytes_pictured(text: &str) -> (Vec<(String, usize, String)>, Vec<u8>) {
    let mut fields: Vec<(String, usize, String)> = Vec::new();
    let mut bytes = Vec::new();
    let number = |digits: &str| usize::from_str_radix(digits, 16).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("    field   at  bytes")).skip(1);
    let is_row = |line: &&str| line.starts_with("    ") && !line.starts_with("    sender");
    for row in rows.take_while(is_row) {
        let row = format!("{row:<80}");
        assert!(row.is_ascii() && row.len() == 80, "{row:?}");
        let (name, at, shown) = (row[4..12].trim(), number(&row[12..15]), &row[64..]);
        assert_eq!(at, bytes.len(), "{row:?} is where it says");
        if !name.is_empty() {
            fields.push((name.to_owned(), at, String::new()));
        }
        let (name, _, text) = fields.last_mut().expect("the first row has a name");
        if let Some(zeros) = row[16..].strip_prefix("00 ... ") {
            let (count, last) = zeros.split_once(" bytes of zeros, up to ").unwrap();
            bytes.resize(at + count.parse::<usize>().unwrap(), 0);
            assert_eq!(number(last.trim()), bytes.len() - 1, "{row:?}");
            continue;
        }
        bytes.extend(row[16..64].split_whitespace().map(|digits| number(digits) as u8));
        let count = bytes.len() - at;
        assert!(count <= 16, "{row:?}");
        // A text may end in spaces, which are there but cannot be seen; it is as long as its bytes.
        let end = if name == "text" { count } else { shown.trim_end().len() };
        *text += &shown[..end];
        assert_eq!(shown[end..].trim(), if count == 0 { "(empty)" } else { "" }, "{row:?}");
    }
    (fields, bytes)
}

/// A row of the timeline, column by column. The first two are its heads.
#[derive(Clone, Debug)]
pub struct Row {
    pub time: String,
    pub left: String,
    pub middle: String,
    pub right: String,
}

/// The rows of the timeline, which ends the text.
#[track_caller]
pub fn timeline(text: &str) -> Vec<Row> {
    let text = plain(text);
    let mut lines = text.lines().skip_while(|line| !line.starts_with("    The run,"));
    let title = lines.next().expect("there is a timeline");
    assert!(title.contains("microseconds"), "{title}");
    let row = |line| {
        let row = format!("{line:<80}");
        assert!(row.is_ascii() && row.len() == 80, "{row:?}");
        assert!(!row.contains("microseconds"), "{row:?}");
        let columns = [4..12, 14..36, 36..58, 58..80];
        let [time, left, middle, right] = columns.map(|at| row[at].trim().to_owned());
        Row { time, left, middle, right }
    };
    lines.map(row).collect()
}

/// The events of a timeline: the time in microseconds, who, what, and what crosses (`fork ->`).
#[track_caller]
pub fn events(text: &str) -> Vec<(u64, &'static str, String, String)> {
    let rows = timeline(text);
    let event = |row: &Row| {
        assert_ne!(row.left.is_empty(), row.right.is_empty(), "{row:?}");
        let (who, what) =
            if row.left.is_empty() { ("listener", &row.right) } else { ("sender", &row.left) };
        let name = row.middle.trim_matches(['<', '-', '>', ' ']).to_owned();
        let crosses = match (row.middle.starts_with('<'), row.middle.ends_with('>')) {
            (false, true) => name + " ->",
            (true, false) => "<- ".to_owned() + &name,
            (false, false) if name.is_empty() => name,
            _ => panic!("neither to one side nor to the other: {row:?}"),
        };
        (row.time.parse().unwrap(), who, what.clone(), crosses)
    };
    rows[2..].iter().map(event).collect()
}
